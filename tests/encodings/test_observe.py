import numpy as np
import pytest
import torch

from autosinian.encodings.calibrated import calibrate
from autosinian.encodings.configuration import symmetric_configuration
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.observe import observe
from autosinian.equalize.equalize import folded
from autosinian.errors import InputError, TrialFailure
from tests.encodings.networks import calibrated
from tests.equalize.networks import detectorlike, images


def test_ranges_are_the_least_and_greatest_values_in_any_batches() -> None:
    network = folded(detectorlike()).network
    whole = observe(network, [images(8)], histograms=True)
    parts = observe(network, [images(8)[:3], images(8)[3:6], images(8)[6:]], histograms=True)
    assert whole["images"].range("minmax") == (float(images(8).min()), float(images(8).max()))
    with torch.no_grad():
        boxes = network(images(8))[0]
    assert whole["concat"].maximum == pytest.approx(float(boxes.max()))
    for name, seen in whole.items():
        assert parts[name].minimum == pytest.approx(seen.minimum, rel=1e-5)
        assert parts[name].maximum == pytest.approx(seen.maximum, rel=1e-5)
    assert np.array_equal(whole["images"].histogram.counts, parts["images"].histogram.counts)  # type: ignore[union-attr]


def test_percentile_and_entropy_cut_both_sides_of_activations() -> None:
    full = calibrated()
    for method in ("percentile", "entropy"):
        cut = calibrated(method=method, percentile=99.0)
        greatest = cut.encodings(Exceptions()).activations["relu"][0].maximum
        assert greatest < full.encodings(Exceptions()).activations["relu"][0].maximum
        low, high = cut.observed["concat"].range("percentile", percentile=90.0)
        assert low == pytest.approx(-high)
        # Pixels cannot exceed their range, so no method cuts them.
        images_range = cut.encodings(Exceptions()).activations["images"]
        assert images_range == full.encodings(Exceptions()).activations["images"]


def test_no_images_and_unknown_methods_are_bad_input() -> None:
    network = folded(detectorlike()).network
    with pytest.raises(InputError, match="at least one image"):
        calibrate(network, [], symmetric_configuration())
    with pytest.raises(InputError, match="`mse`"):
        calibrate(network, [images(1)], symmetric_configuration(), method="mse")
    seen = observe(network, [images(1)])
    with pytest.raises(InputError, match="histograms"):
        seen["relu"].range("entropy")


def test_activations_that_are_not_finite_are_named() -> None:
    with pytest.raises(TrialFailure, match="`images`"):
        observe(folded(detectorlike()).network, [images(1) * float("inf")])
