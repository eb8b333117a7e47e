"""The search space file: YAML, validated, every mistake named with its line."""

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from autosinian.errors import InputError
from autosinian.space.rules import Constraint, Metric


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """Every integer from `low` to `high`, both included; `log` samples small values finer."""

    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _not_empty(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"`low <= high` must hold, but got low={self.low}, high={self.high}")
        if self.log and self.low < 1:
            raise ValueError(f"a `log` range must start at 1 or above, but got low={self.low}")
        return self


Choices = Annotated[list[int | float | bool | str], Field(min_length=1)]
Values = Range | Choices | int | float | bool | str


class DataSpec(_Strict):
    """A data set by name; `path` is the user's folder or archive where it is not shipped."""

    name: str
    path: str | None = None


class NetworkSpec(_Strict):
    """One network in place of a supernet, and how it wants its images.

    `source` is an ONNX file, a model folder of integers (for engine `int4`), or
    `package.module:name` or `file.py:name` where `name` is a torch module or makes one without
    arguments. `autoconfig` names the kernels of a model of integers, where they do not lie beside
    it. `resolution` may be left out where the ONNX tells it.
    `mean` and `std` are of pixels in 0 to `pixel_range`, per channel, ImageNet's own by default.
    `resize` is the short side in pixels before a centre crop, `ceil(resolution / 0.875)` where it
    is left out; `direct` resizes the whole image to `resolution x resolution`.
    """

    source: str = Field(min_length=1)
    autoconfig: str | None = None
    resolution: int | None = Field(default=None, ge=1, le=4096)
    mean: list[float] | None = None
    std: list[float] | None = None
    pixel_range: Literal[1, 255] = 1
    resize: int | Literal["direct"] | None = None
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"

    @field_validator("resize", mode="before")
    @classmethod
    def _pixels_or_direct(cls, value: object) -> object:
        if value is not None and value != "direct" and type(value) is not int:
            raise ValueError(f"a whole number of pixels or 'direct' is needed, but got {value!r}")
        return value

    @field_validator("mean", "std")
    @classmethod
    def _per_channel(cls, values: list[float] | None) -> list[float] | None:
        if values is not None and not (len(values) == 3 and all(map(math.isfinite, values))):
            raise ValueError(f"three numbers must be given, red, green and blue, but got {values}")
        return values

    @model_validator(mode="after")
    def _both_or_neither(self) -> "NetworkSpec":
        if (self.mean is None) != (self.std is None):
            raise ValueError("`mean` and `std` must be given together")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"`std` must be above 0, but got {self.std}")
        if self.mean is None and self.pixel_range != 1:
            raise ValueError("`pixel_range` says what `mean` and `std` count in; give them too")
        return self


class ArchitectureSpec(_Strict):
    """Which genes may be tried; what is left out is everything the supernet has."""

    depth: list[int] | None = Field(default=None, min_length=1)
    kernel_size: list[int] | None = Field(default=None, min_length=1)
    expand_ratio: list[int | float] | None = Field(default=None, min_length=1)
    width: list[int] | None = Field(default=None, min_length=1)
    resolution: list[int] | None = Field(default=None, min_length=1)


class QuantizationSpec(_Strict):
    """Numeric precisions, and for int8 how activation ranges are found.

    `int4` is the one precision of a `network` that is a model folder of integers. `equalize`,
    `asymmetric` and `float_layers` are for detectors (see `Quantization.options`).
    """

    precision: list[Literal["fp32", "bf16", "fp16", "int8", "int4"]] = Field(
        default=["fp32"], min_length=1
    )
    calibration: list[Literal["minmax", "entropy", "percentile"]] = Field(
        default=["minmax"], min_length=1
    )
    equalize: list[bool] | None = Field(default=None, min_length=1)
    asymmetric: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=1)
    float_layers: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=1)

    @property
    def detector_options(self) -> dict[str, list[Any]]:
        """The choices of what detectors alone have, by name; see `Quantization.options`."""
        given = {name: getattr(self, name) for name in ("asymmetric", "equalize", "float_layers")}
        return {name: choices for name, choices in given.items() if choices is not None}


class ServingSpec(BaseModel):
    """Batch size, and any tunable that the engine declares by its own name."""

    model_config = ConfigDict(extra="allow", frozen=True)
    batch_size: Values = 1
    __pydantic_extra__: dict[str, Values]


class BaselineSpec(BaseModel):
    """How the baseline is served; the engine's tunables by their own names, defaults else."""

    model_config = ConfigDict(extra="allow", frozen=True)
    precision: Literal["fp32", "bf16", "fp16", "int4"] = "fp32"
    batch_size: int = Field(default=1, ge=1)
    __pydantic_extra__: dict[str, int | float | bool | str]


class MeasurementSpec(_Strict):
    """How long and within which limits each trial is measured."""

    min_duration_s: float = Field(default=2.0, gt=0)
    min_queries: int = Field(default=64, ge=1)
    search_samples: int | None = Field(default=None, ge=1)
    calibration_samples: int | None = Field(default=None, ge=1)
    batch_norm_samples: int | None = Field(default=None, ge=1)
    validation_samples: int | None = Field(default=None, ge=1)
    time_limit_s: float = Field(default=300.0, gt=0)
    memory_limit_mib: int = Field(default=4096, ge=64)
    server_latency_ms: float = Field(default=15.0, gt=0)
    loadgen: dict[str, int | float | bool] = Field(default_factory=dict)


class Document(_Strict):
    """One search space file: over the subnets of `supernet`, or of one `network`."""

    supernet: str | None = None
    network: NetworkSpec | None = None
    data: DataSpec
    engine: str
    scenarios: list[Literal["Offline", "Server", "SingleStream", "MultiStream"]] = Field(
        default=["Offline"], min_length=1
    )
    objectives: list[str] = Field(min_length=1, max_length=2)
    constraints: list[str] = Field(default_factory=list)
    architecture: ArchitectureSpec = ArchitectureSpec()
    quantization: QuantizationSpec = QuantizationSpec()
    serving: ServingSpec = ServingSpec()
    baseline: BaselineSpec = BaselineSpec()
    measurement: MeasurementSpec = MeasurementSpec()
    trials: int = Field(100, ge=1)
    _origin: tuple[str, str] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_source(self) -> "Document":
        if (self.supernet is None) == (self.network is None):
            given = "neither" if self.network is None else "both"
            raise ValueError(f"one of `supernet` and `network` must be given, but {given} is")
        if self.network is not None and self.architecture != ArchitectureSpec():
            raise ValueError(
                "`architecture` is chosen within a supernet; a `network` has one, so remove it"
            )
        return self

    def where(self, *location: str | int) -> str:
        """`name:line: ` of an entry, to begin a message with; empty where it has no text."""
        if self._origin is None:
            return ""
        text, name = self._origin
        return f"{name}:{_line(yaml.compose(text, Loader=yaml.SafeLoader), location)}: "

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The objectives, read."""
        return tuple(Metric.parse(text, tuple(self.scenarios)) for text in self.objectives)

    @property
    def rules(self) -> tuple[Constraint, ...]:
        """The constraints, read."""
        return tuple(Constraint.parse(text, tuple(self.scenarios)) for text in self.constraints)


def read_document(path: Path) -> Document:
    """Read and validate a search space file. Raises `InputError` naming file, line and cause."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"a search space must be a readable YAML file, but `{path}` is not: {error}"
        ) from error
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """`read_document` for text that is at hand; `name` stands in messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{name}{line}: not valid YAML: {problem}") from error
    _refuse_repeated_keys(node, name)
    if not isinstance(value, dict):
        raise InputError(
            f"{name}: a search space must be a mapping with the key `supernet` or `network`"
        )
    try:
        document = Document.model_validate(value)
    except ValidationError as error:
        raise InputError(_explain(error, node, name)) from error
    for field in ("objectives", "constraints"):
        reader = Metric.parse if field == "objectives" else Constraint.parse
        for index, entry in enumerate(getattr(document, field)):
            try:
                reader(entry, tuple(document.scenarios))
            except InputError as error:
                raise InputError(f"{name}:{_line(node, (field, index))}: {error}") from error
    document._origin = (text, name)
    return document


def _refuse_repeated_keys(node: yaml.Node | None, name: str) -> None:
    """YAML readers keep the last of two equal keys in silence."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise InputError(
                        f"{name}:{line}: `{key.value}`: a key must be given once, but line "
                        f"{seen[key.value]} has it too; remove one"
                    )
                seen[key.value] = line
            _refuse_repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, name)


def _line(node: yaml.Node | None, location: tuple[str | int, ...]) -> int:
    line = 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(k, v) for k, v in node.value if k.value == str(step)]
            if not pairs:
                break
            line = pairs[0][0].start_mark.line + 1
            node = pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _explain(error: ValidationError, node: yaml.Node | None, name: str) -> str:
    # A value that fits no alternative of a union gives one error each: keep those of its own form.
    errors: list[Any] = [e for e in error.errors() if _is_meant(e["loc"], node)]
    first = min(errors or error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = tuple(step for step in first["loc"] if _alternative(step) is None)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"])
        close = difflib.get_close_matches(str(location[-1]), known, 1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        message = f"unknown key{hint} (known here: {', '.join(known)})"
    elif first["type"] == "missing":
        message = "this key must be given"
    elif first["type"] == "too_short":
        message = "a range must not be empty"
    if not location:  # of the file as a whole
        return f"{name}: {message}"
    shown = ".".join(str(step) for step in location)
    return f"{name}:{_line(node, location)}: `{shown}`: {message}"


def _alternative(step: str | int) -> type[yaml.Node] | None:
    """The form of value that a union's alternative takes; None for a step into the file."""
    if isinstance(step, int):
        return None
    if step in ("int", "float", "bool", "str") or step.startswith("literal["):
        return yaml.ScalarNode
    if step.startswith(("list[", "constrained-list")):
        return yaml.SequenceNode
    return yaml.MappingNode if step.endswith(("Range", "Range]")) else None


def _is_meant(location: tuple[str | int, ...], node: yaml.Node | None) -> bool:
    for step in location:
        form = _alternative(step)
        if form is not None:
            return isinstance(node, form)
        if isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
    return True


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Document
    for step in location[:-1]:
        field = model.model_fields.get(str(step))
        if _alternative(step) is yaml.MappingNode:
            model = Range
        elif field is not None:
            # `NetworkSpec | None` is the model that it may hold.
            for kind in (field.annotation, *get_args(field.annotation)):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    model = kind
    return list(model.model_fields)
