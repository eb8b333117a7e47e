"""Detectors on disk: our own file, and the checkpoint MLPerf published."""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autosinian.content import atomic_file
from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.errors import InputError

FORMAT = "autosinian.ssd/1"

COCO_CLASSES = 81
"""Classes of the published checkpoint, with the background."""


@dataclass(frozen=True)
class Detector:
    """A network in evaluation mode and the names of its classes, from class 1 on.

    `class_names` is empty where the file has none (the published checkpoint): its classes are
    then those of an annotation file, in its order.
    """

    network: SsdResNet34
    class_names: tuple[str, ...] = ()


def save_detector(path: Path, detector: Detector, *, half: bool = False) -> None:
    """Write network and names, atomically; `half` stores parameters in half precision."""
    state = {
        name: tensor.detach().cpu().half() if half and tensor.is_floating_point() else tensor.cpu()
        for name, tensor in detector.network.state_dict().items()
    }
    document = {
        "format": FORMAT,
        "config": asdict(detector.network.config),
        "class_names": list(detector.class_names),
        "state": state,
    }
    with atomic_file(path) as temporary:
        torch.save(document, temporary)


def load_detector(path: Path, *, image_size: int | None = None) -> Detector:
    """Read a detector; `image_size` is that of a published checkpoint (1200 unless told).

    Raises `InputError` where `path` is neither our file nor a checkpoint with SSD-ResNet34's names.
    """
    try:
        document: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"detector {path} cannot be read: {error.strerror or error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(
            f"detector {path} must be a file of plain tensors that torch.save wrote: {first}"
        ) from error
    if isinstance(document, dict) and document.get("format") == FORMAT:
        return _load_own(path, document, image_size)
    return _load_published(path, document, image_size or 1200)


def _load_own(path: Path, document: dict[str, Any], image_size: int | None) -> Detector:
    try:
        config = SsdConfig(**document["config"])
        names = tuple(str(name) for name in document["class_names"])
        state = document["state"]
    except (KeyError, TypeError) as error:
        raise InputError(f"detector {path} must hold `config`, `class_names`, `state`") from error
    if image_size not in (None, config.image_size):
        raise InputError(
            f"detector {path} takes images of {config.image_size} pixels, not {image_size}"
        )
    if len(names) not in (0, config.classes - 1):
        raise InputError(
            f"detector {path} must name {config.classes - 1} classes, but names {len(names)}"
        )
    return Detector(_filled(path, config, state), names)


def _load_published(path: Path, document: Any, image_size: int) -> Detector:
    """A state dict of the published names, by itself or under `model` or `state_dict`."""
    for key in ("model", "state_dict"):
        if isinstance(document, dict) and isinstance(document.get(key), dict):
            document = document[key]
    if not isinstance(document, dict) or not all(isinstance(v, Tensor) for v in document.values()):
        raise InputError(f"detector {path} must hold a state dict, names to tensors")
    state = {name.removeprefix("module."): tensor for name, tensor in document.items()}
    first, scores = state.get("model.layer1.0.weight"), state.get("conf.0.weight")
    if first is None or scores is None:
        raise InputError(
            f"detector {path} must have SSD-ResNet34's names (`model.layer1.0.weight`, "
            f"`conf.0.weight`, ...), but begins with `{next(iter(state), 'nothing')}`"
        )
    config = SsdConfig(
        classes=scores.shape[0] // 4, width=first.shape[0] / 64, image_size=image_size
    )
    return Detector(_filled(path, config, state))


def _filled(path: Path, config: SsdConfig, state: dict[str, Tensor]) -> SsdResNet34:
    network = SsdResNet34(config)
    expected = network.state_dict()
    # Checkpoints older than batch norm's step counter lack it; evaluation does not use it.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    unknown = [n for n in state if n not in expected]
    wrong = [n for n in expected if n in state and state[n].shape != expected[n].shape]
    for what, names in (
        ("lacks", missing),
        ("has unknown", unknown),
        ("has another shape of", wrong),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(f"detector {path} {what} `{names[0]}`{more}")
    network.load_state_dict(expected | state)
    return network.eval()
