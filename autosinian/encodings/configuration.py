"""AIMET's quantization configuration, a JSON file, read strictly."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from autosinian.errors import InputError


def _flag(value: Any) -> Any:
    if value in ("True", "False"):
        return value == "True"
    if isinstance(value, bool):
        return value
    raise ValueError('must be "True" or "False"')


Flag = Annotated[bool, BeforeValidator(_flag)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DefaultOperations(_Section):
    """What holds for the output of every operation."""

    is_output_quantized: Flag = False
    is_symmetric: Flag = False


class DefaultParameters(_Section):
    """What holds for every weight and bias."""

    is_quantized: Flag = False
    is_symmetric: Flag = False


class Defaults(_Section):
    """The `defaults` section; `unsigned_symmetric` lets symmetric ranges without negative values
    spend all their steps on positive ones, and holds where a file does not tell."""

    ops: DefaultOperations
    params: DefaultParameters
    strict_symmetric: Flag = False
    unsigned_symmetric: Flag = True
    per_channel_quantization: Flag = False


class Parameter(_Section):
    """What one kind of parameter has in place of the defaults."""

    is_quantized: Flag | None = None
    is_symmetric: Flag | None = None


class OperationType(_Section):
    """What one kind of operation has in place of the defaults."""

    is_output_quantized: Flag | None = None
    is_symmetric: Flag | None = None
    per_channel_quantization: Flag | None = None
    params: dict[Literal["weight", "bias"], Parameter] = Field(default_factory=dict)


class Supergroup(_Section):
    """Operations that run as one: only the last one's output has an encoding."""

    op_list: tuple[str, ...] = Field(min_length=2)


class ModelInput(_Section):
    """Whether what comes in is quantized."""

    is_input_quantized: Flag = False


class ModelOutput(_Section):
    """Whether what goes out is quantized."""

    is_output_quantized: Flag | None = None


class Configuration(_Section):
    """One configuration file; kinds of operations are ONNX's: Conv, Relu, Add."""

    defaults: Defaults
    params: dict[Literal["weight", "bias"], Parameter] = Field(default_factory=dict)
    op_type: dict[str, OperationType] = Field(default_factory=dict)
    supergroups: tuple[Supergroup, ...] = ()
    model_input: ModelInput = ModelInput()
    model_output: ModelOutput = ModelOutput()


def symmetric_configuration(*, per_channel: bool = False) -> Configuration:
    """What is used where no file is named: symmetric weights and activations, everything
    quantized, a convolution or an addition with the ReLU behind it as one."""
    return Configuration(
        defaults=Defaults(
            ops=DefaultOperations(is_output_quantized=True, is_symmetric=True),
            params=DefaultParameters(is_quantized=True, is_symmetric=True),
            per_channel_quantization=per_channel,
        ),
        params={"bias": Parameter(is_quantized=False)},
        supergroups=(
            Supergroup(op_list=("Conv", "Relu")),
            Supergroup(op_list=("Add", "Relu")),
        ),
        model_input=ModelInput(is_input_quantized=True),
        model_output=ModelOutput(is_output_quantized=True),
    )


def read_configuration(path: Path) -> Configuration:
    """Read a configuration. Raises `InputError` that names the first key that is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} must be a configuration that can be read: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be a JSON file, but: {error}") from error
    try:
        configuration = Configuration.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: `{place}` is wrong: {first['msg']}") from error
    if configuration.defaults.strict_symmetric and configuration.defaults.unsigned_symmetric:
        if "unsigned_symmetric" in configuration.defaults.model_fields_set:
            raise InputError(
                f"{path}: `strict_symmetric` and `unsigned_symmetric` exclude each other"
            )
        defaults = configuration.defaults.model_copy(update={"unsigned_symmetric": False})
        configuration = configuration.model_copy(update={"defaults": defaults})
    quantized = [configuration.params.get("bias", Parameter()).is_quantized]
    quantized += [
        item.params.get("bias", Parameter()).is_quantized for item in configuration.op_type.values()
    ]
    if True in quantized:
        raise InputError(
            f"{path}: `params.bias.is_quantized` must be False: engines add biases in 32 bits"
        )
    return configuration
