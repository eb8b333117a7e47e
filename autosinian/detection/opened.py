"""A detector ready to run, whatever file it comes from."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autosinian.detection.checkpoint import load_detector
from autosinian.detection.device import choose_device
from autosinian.detection.evaluate import Forward
from autosinian.detection.layout import Layout
from autosinian.errors import InputError


@dataclass(frozen=True)
class OpenedDetector:
    """What evaluation needs; `classes` counts the background, `device` is where inputs go."""

    forward: Forward
    layout: Layout
    classes: int
    class_names: tuple[str, ...]
    device: torch.device


def open_detector(path: Path, device: str, *, image_size: int | None = None) -> OpenedDetector:
    """Open a `detector.pt`, a published checkpoint or, on the processor, an ONNX file.

    Raises `InputError` where `path` is none of them.
    """
    if path.suffix.lower() == ".onnx":
        return _open_onnx(path)
    chosen = choose_device(device)
    if path.suffix.lower() == ".pth" and path.with_suffix(".encodings").exists():
        return _open_simulated(path, chosen)
    detector = load_detector(path, image_size=image_size)
    config = detector.network.config
    return OpenedDetector(
        detector.network.to(chosen), config.layout, config.classes, detector.class_names, chosen
    )


def _open_simulated(path: Path, device: torch.device) -> OpenedDetector:
    from autosinian.detection.quantized_files import open_simulated

    network, detector = open_simulated(path)
    config = detector.network.config
    return OpenedDetector(
        network.to(device), config.layout, config.classes, detector.class_names, device
    )


def _open_onnx(path: Path) -> OpenedDetector:
    import onnx
    import onnxruntime

    from autosinian.detection.export import OUTPUT_NAMES, described

    try:
        model = onnx.load_model(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise InputError(f"detector {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # onnx and onnxruntime share no base class of theirs.
        if type(error).__module__.partition(".")[0] not in ("google", "onnxruntime", "onnx"):
            raise
        raise InputError(f"detector {path} must be an ONNX file: {error}") from error
    config, class_names = described(model, f"detector {path}")
    (images,) = session.get_inputs()

    def forward(batch: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = session.run(list(OUTPUT_NAMES), {images.name: batch.numpy()})
        return torch.from_numpy(boxes), torch.from_numpy(scores)

    return OpenedDetector(forward, config.layout, config.classes, class_names, torch.device("cpu"))
