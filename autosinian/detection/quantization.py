"""Post-training quantization of a detector: equalized, calibrated, with its exceptions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from autosinian.data.progress import Progress
from autosinian.detection.annotations import AnnotatedImages
from autosinian.detection.checkpoint import Detector
from autosinian.detection.evaluate import evaluate_split
from autosinian.detection.inputs import input_batches
from autosinian.detection.suppression import Suppression
from autosinian.encodings.calibrated import Calibrated, calibrate
from autosinian.encodings.configuration import Configuration, symmetric_configuration
from autosinian.encodings.encoding import Encodings
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.sensitivity import KINDS, Choice, choose_exceptions, relative_noise
from autosinian.equalize.equalize import Equalized, equalize, folded
from autosinian.errors import InputError
from autosinian.quantize.threshold import PERCENTILE

SENSITIVITY_IMAGES = 4
"""So many validation images are enough to tell how sensitive a layer is."""


@dataclass(frozen=True)
class QuantizationOptions:
    """How a detector is quantized; the defaults are those of the published SSD-ResNet34.

    `method` is one of `METHODS`; `images` is the most that are calibrated with.
    """

    configuration: Configuration = field(default_factory=symmetric_configuration)
    method: str = "minmax"
    percentile: float = PERCENTILE
    equalize: bool = True
    high_bias: bool = True
    across_padding: bool = False
    images: int = 500


@dataclass(frozen=True)
class QuantizedDetector:
    """A detector with ranges: `calibrated` gives encodings and simulation for any exceptions."""

    detector: Detector
    equalized: Equalized
    calibrated: Calibrated
    images: int

    def encodings(self, exceptions: Exceptions) -> Encodings:
        """The encodings with these exceptions."""
        return self.calibrated.encodings(exceptions)

    def simulated(self, exceptions: Exceptions) -> fx.GraphModule:
        """Simulated INT8 of the detector, from normalized images to offsets and scores."""
        return self.calibrated.simulated(exceptions)


@dataclass(frozen=True)
class ChosenExceptions:
    """What `choose_on` found: fp32's mAP on the split, and the choice."""

    float_map: float
    choice: Choice


def quantize_detector(
    detector: Detector,
    calibration: AnnotatedImages,
    options: QuantizationOptions | None = None,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
) -> QuantizedDetector:
    """Fold, equalize and calibrate `detector`, which stays as it was.

    Raises `InputError` where the calibration set is empty or an image cannot be read.
    """
    options = options or QuantizationOptions()
    chosen = replace(calibration, images=calibration.images[: options.images])
    side = detector.network.config.image_size
    batches = input_batches(chosen, side, batch_size)
    return quantize_on(detector, batches, options, device=device, total=len(chosen.images))


def quantize_on(
    detector: Detector,
    batches: Iterable[NDArray[np.float32]],
    options: QuantizationOptions,
    *,
    device: torch.device | str = "cpu",
    total: int = 0,
) -> QuantizedDetector:
    """`quantize_detector` on normalized images, `batch x 3 x s x s`; `total` is for progress."""
    if options.equalize:
        equalized = equalize(
            detector.network,
            high_bias=options.high_bias,
            across_padding=options.across_padding,
        )
    else:
        equalized = folded(detector.network)
    equalized.network.to(device)
    progress = Progress("calibrating", total)
    seen = 0

    def tensors() -> Iterable[torch.Tensor]:
        nonlocal seen
        for batch in batches:
            yield torch.from_numpy(batch).to(device)
            seen += len(batch)
            progress.advance(seen)

    calibrated = calibrate(
        equalized.network,
        tensors(),
        options.configuration,
        method=options.method,
        percentile=options.percentile,
    )
    return QuantizedDetector(detector, equalized, calibrated, seen)


def choose_on(
    quantized: QuantizedDetector,
    validation: AnnotatedImages,
    *,
    target: float = 0.995,
    kinds: Sequence[str] = KINDS,
    start: Exceptions | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
) -> ChosenExceptions:
    """The shortest list whose mAP on `validation` is at least `target` times fp32's there.

    Sensitivities are measured on its first few images.
    """
    if not validation.images:
        raise InputError("choosing exceptions needs at least one image, but the set has none")
    layout = quantized.detector.network.config.layout
    few = replace(validation, images=validation.images[:SENSITIVITY_IMAGES])
    sample = np.concatenate(list(input_batches(few, layout.image_size, batch_size)))
    images = torch.from_numpy(sample).to(device)

    def accuracy(module: torch.nn.Module) -> float:
        return map_of(module, validation, quantized, device=device, batch_size=batch_size)

    in_float = accuracy(quantized.calibrated.network)
    choice = choose_exceptions(
        quantized.calibrated,
        images,
        accuracy,
        target * in_float,
        start,
        kinds=kinds,
        noise=detection_noise,
        advance=_told("measuring sensitivities"),
    )
    return ChosenExceptions(in_float, choice)


def detection_noise(given: Sequence[torch.Tensor], reference: Sequence[torch.Tensor]) -> float:
    """`relative_noise` of offsets and scores where the float network sees an object.

    Most default boxes are background with any offsets: what happens there changes no detection.
    """
    seen = (reference[1][:, 1:].amax(dim=1) > Suppression().score).unsqueeze(1)
    if not bool(seen.any()):
        return relative_noise(given, reference)
    return relative_noise(
        [output.masked_select(seen) for output in given],
        [output.masked_select(seen) for output in reference],
    )


def map_of(
    module: torch.nn.Module,
    images: AnnotatedImages,
    quantized: QuantizedDetector,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
) -> float:
    """COCO mAP, percent, of a network with the outputs of `quantized`'s over a split."""
    layout = quantized.detector.network.config.layout
    figures, _ = evaluate_split(module, layout, images, batch_size=batch_size, device=device)
    return figures.mean


def _told(what: str) -> Callable[[int, int], None]:
    progress: Progress | None = None

    def advance(done: int, total: int) -> None:
        nonlocal progress
        if progress is None or done == 1:
            progress = Progress(what, total)
        progress.advance(done)

    return advance
