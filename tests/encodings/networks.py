"""Calibrated small networks."""

from autosinian.encodings.calibrated import Calibrated, calibrate
from autosinian.encodings.configuration import Configuration, symmetric_configuration
from autosinian.equalize.equalize import equalize
from tests.equalize.networks import detectorlike, images


def calibrated(
    configuration: Configuration | None = None, method: str = "minmax", percentile: float = 99.999
) -> Calibrated:
    """The small detector, equalized, with the ranges of 32 images."""
    return calibrate(
        equalize(detectorlike()).network,
        [images(16), images(16, seed=2)],
        configuration or symmetric_configuration(),
        method=method,
        percentile=percentile,
    )
