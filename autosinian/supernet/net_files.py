"""`net.config` and `init`: a network's architecture and weights in `ofa`'s own form."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosinian.content import atomic_file, write_json
from autosinian.errors import InputError

if TYPE_CHECKING:
    import torch

CONFIG = "net.config"
INIT = "init"
IMAGE_SIZE = "image_size"

# The names that `ofa` gave the block and its layer before 2020 (Alibaba's v0.7 submission).
_OLD_KEYS = {"mobile_inverted_conv": "conv"}
_OLD_BLOCKS = {"MobileInvertedResidualBlock": "ResidualBlock"}
_OLD_LAYERS = {"MBInvertedConvLayer": "MBConvLayer"}
_NETS = ("ProxylessNASNets", "MobileNetV3", "MobileNetV3Large", "ResNets", "MobileNetV2")


def write_net(folder: Path, module: "torch.nn.Module", resolution: int) -> None:
    """Write `net.config` (JSON, with `image_size`) and `init` (`{"state_dict": ...}`)."""
    import torch

    write_config(folder, module, resolution)
    with atomic_file(folder / INIT) as temporary:
        torch.save({"state_dict": module.state_dict()}, temporary)


def write_config(folder: Path, module: "torch.nn.Module", resolution: int) -> None:
    """Write `net.config` alone."""
    config: Any = module.config
    write_json(folder / CONFIG, {**config, IMAGE_SIZE: resolution})


def read_net(folder: Path, *, weights: bool = True) -> tuple["torch.nn.Module", int | None]:
    """The network of a folder in eval mode, and the resolution its `net.config` names.

    Reads today's form, the old one without `name`, and `init` as a bare state dict or as
    `{"state_dict": ...}`, with or without a `module.` prefix. Without `weights` they stay random.
    Raises `InputError` where a file is missing, no network, or of another network.
    """
    from ofa.imagenet_classification.networks import get_net_by_name

    path = folder / CONFIG
    config = _read_config(path)
    name = config.get("name", "ProxylessNASNets")
    if name not in _NETS:
        raise InputError(f"the network in `{path}` must be one of {', '.join(_NETS)}; got `{name}`")
    try:
        module: torch.nn.Module = get_net_by_name(name).build_from_config(_modern(config))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"`{path}` cannot be built by ofa: {error!r}") from error
    if weights:
        load_weights(module, folder / INIT)
    resolution = config.get(IMAGE_SIZE)
    return module.eval(), int(resolution) if resolution is not None else None


def read_resolution(folder: Path) -> int:
    """The resolution that a `net.config` names, without building the network.

    Raises `InputError` where it names none.
    """
    path = folder / CONFIG
    resolution = _read_config(path).get(IMAGE_SIZE)
    if not isinstance(resolution, int) or resolution < 1:
        raise InputError(f"`{path}` must have `{IMAGE_SIZE}` in pixels, but has {resolution!r}")
    return resolution


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` must be a network as JSON, but: {error}") from error
    if not isinstance(config, dict) or "blocks" not in config or "classifier" not in config:
        raise InputError(f"`{path}` must have the keys `blocks` and `classifier`, as ofa writes it")
    return config


def load_weights(module: "torch.nn.Module", path: Path) -> None:
    """Load an `init` file into a network. Raises `InputError` where it is of another one."""
    cause = load_exactly(module, read_state(path))
    if cause is not None:
        raise InputError(f"`{path}` must hold this network's weights, but {cause}")


def load_exactly(module: "torch.nn.Module", state: Mapping[str, "torch.Tensor"]) -> str | None:
    """Load all weights and no others; gives what is wrong where they do not fit, else None.

    `ofa`'s own loaders accept a state dict that lacks weights. Batch counters may lack.
    """
    import torch

    renamed = {key.replace(".mobile_inverted_conv.", ".conv."): v for key, v in state.items()}
    own = module.state_dict()
    missing = sorted(k for k in own.keys() - renamed if not k.endswith("num_batches_tracked"))
    unknown = sorted(renamed.keys() - own)
    if missing:
        return f"{len(missing)} of its weights are missing, first `{missing[0]}`"
    if unknown:
        return f"{len(unknown)} weights are not of it, first `{unknown[0]}`"
    for key, value in renamed.items():
        if not isinstance(value, torch.Tensor) or value.shape != own[key].shape:
            shape = tuple(getattr(value, "shape", ()))
            return f"`{key}` must have shape {tuple(own[key].shape)} and has {shape}"
    torch.nn.Module.load_state_dict(module, renamed, strict=False)
    return None


def read_state(path: Path) -> dict[str, "torch.Tensor"]:
    """The state dict of a file written by `torch.save`; executes nothing in it."""
    loaded = read_torch(path)
    state = loaded.get("state_dict", loaded)
    if not isinstance(state, Mapping):
        raise InputError(f"`{path}` must hold a state dict, but `state_dict` is something else")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def read_torch(path: Path) -> dict[str, Any]:
    """A mapping written by `torch.save`. Raises `InputError` for anything else."""
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make it raise anything
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"`{path}` must be a file of weights, but: {cause[:200]}") from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"`{path}` must hold a mapping, but it is a {type(loaded).__name__}")
    return dict(loaded)


def _modern(value: Any) -> Any:
    """The config with old names replaced, at any depth."""
    if isinstance(value, list):
        return [_modern(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {_OLD_KEYS.get(key, key): _modern(item) for key, item in value.items()}
    for names in (_OLD_BLOCKS, _OLD_LAYERS):
        if renamed.get("name") in names:
            renamed["name"] = names[renamed["name"]]
    return renamed
