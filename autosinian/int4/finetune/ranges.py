"""Activation ranges from the 99.999th percentile of histograms over a calibration set."""

import math

import torch

from autosinian.errors import AutosinianError
from autosinian.int4.finetune.evaluation import evaluating
from autosinian.int4.finetune.folded import FoldedNetwork
from autosinian.int4.finetune.images import ImageSet
from autosinian.quantize.histogram import BINS, Histogram
from autosinian.quantize.threshold import PERCENTILE, threshold


def device_histogram(values: torch.Tensor) -> Histogram:
    """The histogram of `|values|`, counted on the device that holds them."""
    magnitudes = values.detach().abs().flatten()
    greatest = float(magnitudes.max())
    if not math.isfinite(greatest):
        raise AutosinianError(
            f"activations must be finite, but the greatest is {greatest}; train the float network "
            "again with a smaller learning rate"
        )
    histogram = Histogram()
    span = 2.0 ** max(math.frexp(greatest)[1], -100) if greatest > 0 else 0.0
    places = (magnitudes * (BINS / span)).long() if span > 0 else magnitudes.long()
    counts = torch.bincount(places, minlength=BINS)
    histogram.counts = counts.cpu().numpy()
    histogram.greatest, histogram.span = greatest, span
    return histogram


def activation_ranges(
    network: FoldedNetwork,
    data: ImageSet,
    *,
    percentile: float = PERCENTILE,
    batch_size: int = 100,
) -> dict[str, float]:
    """The greatest real value of every tensor that is quantized, by its Quantize layer's name.

    Greater values saturate. Raises `InputError` for a percentile that is not above 0 and at most
    100.
    """
    histograms: dict[str, Histogram] = {}

    def observe(name: str, values: torch.Tensor) -> None:
        histograms.setdefault(name, Histogram()).merge(device_histogram(values))

    images = data.calibration.images
    with evaluating():
        for start in range(0, len(images), batch_size):
            batch = data.normalised(images[start : start + batch_size])
            # What the integers see: the image in steps of int8.
            network(data.steps(batch) * data.input_scale, observe)
    return {
        name: threshold(histogram, "percentile", percentile=percentile)
        for name, histogram in histograms.items()
    }
