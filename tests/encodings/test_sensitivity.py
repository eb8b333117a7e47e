import pytest
import torch
from torch import nn

from autosinian.encodings.calibrated import Calibrated, calibrate
from autosinian.encodings.configuration import symmetric_configuration
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.sensitivity import choose_exceptions, measure_sensitivity, noise
from autosinian.equalize.equalize import folded
from autosinian.errors import InputError
from tests.encodings.networks import calibrated
from tests.equalize.networks import detectorlike, images


def _lopsided() -> Calibrated:
    """The small detector with a box layer whose weights are all positive but one, far out."""
    module = detectorlike()
    with torch.no_grad():
        module.box.weight.abs_().mul_(0.1)
        module.box.weight[0, 0, 0, 0] = 3.0
    return calibrate(folded(module).network, [images(16)], symmetric_configuration())


def test_the_most_sensitive_layer_comes_first() -> None:
    found = measure_sensitivity(_lopsided(), images(4), kinds=("higher_precision",))
    assert found[0].name == "box"
    assert found[0].gain > 2 * found[1].gain
    assert {item.name for item in found} == {
        "conv",
        "block.conv1",
        "block.conv2",
        "box",
        "score",
    }


def test_only_signed_activations_are_candidates() -> None:
    found = measure_sensitivity(calibrated(), images(4), kinds=("asymmetric_activations",))
    assert {item.name for item in found} == {"images", "block.conv2", "box", "score", "concat"}
    with pytest.raises(InputError, match="`both`"):
        measure_sensitivity(calibrated(), images(4), kinds=("both",))


def test_the_list_grows_until_it_is_accurate_enough() -> None:
    subject = _lopsided()
    with torch.no_grad():
        reference = list(subject.network(images(8)))

    def accuracy(module: nn.Module) -> float:
        return -noise(module, reference, images(8))

    start = accuracy(subject.simulated(Exceptions()))
    enough = choose_exceptions(subject, images(4), accuracy, start)
    assert enough.exceptions == Exceptions() and enough.sensitivities == ()
    better = choose_exceptions(subject, images(4), accuracy, start / 2)
    assert better.reached and better.accuracy >= start / 2
    assert "box" in (*better.exceptions.higher_precision, *better.exceptions.asymmetric_weights)
    never = choose_exceptions(subject, images(4), accuracy, 1.0, kinds=("asymmetric_weights",))
    assert not never.reached
    assert never.accuracy == max(value for _, value in never.tried)
    assert never.exceptions.higher_precision == ()
