from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.encodings.configuration import (
    ModelInput,
    ModelOutput,
    OperationType,
    symmetric_configuration,
)
from autosinian.encodings.encoding import Encoding
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.placement import Placement, place
from autosinian.equalize.equalize import folded
from autosinian.errors import InputError
from tests.encodings.networks import calibrated
from tests.equalize.networks import Block, detectorlike

Section = Mapping[str, tuple[Encoding, ...]]


def _activations(placement: Placement) -> set[str]:
    return {slot.name for slot in placement.activations}


def test_ssd_resnet34_has_an_encoding_for_each_input_relu_and_concatenation() -> None:
    network = SsdResNet34(SsdConfig(classes=4, width=0.0625, image_size=300))
    placement = place(folded(network).network, symmetric_configuration(), Exceptions())
    relus = {name for name, part in network.named_modules() if isinstance(part, nn.ReLU)}
    heads = {f"{head}.{index}" for head in ("loc", "conf") for index in range(6)}
    names = _activations(placement)
    assert len(relus) == 37
    assert relus | heads | {"images", "concat_boxes", "concat_scores"} <= names
    assert not any("softmax" in name for name in names)
    parameters = {slot.name for slot in placement.parameters}
    convolutions = {n for n, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    assert len(convolutions) == 51
    assert parameters == {f"{n}.{role}" for n in convolutions for role in ("weight", "bias")}


def test_only_the_last_of_a_supergroup_has_an_encoding() -> None:
    placement = place(folded(detectorlike()).network, symmetric_configuration(), Exceptions())
    assert _activations(placement) == {
        "images",
        "relu",
        "block.relu1",
        "block.conv2",
        "block.relu2",
        "box",
        "score",
        "concat",
    }


def test_the_configuration_decides_on_inputs_outputs_and_kinds() -> None:
    configuration = symmetric_configuration().model_copy(
        update={
            "model_input": ModelInput(is_input_quantized=False),
            "model_output": ModelOutput(is_output_quantized=False),
            "op_type": {"Relu": OperationType(is_symmetric=False)},
            "supergroups": (),
        }
    )
    placement = place(folded(detectorlike()).network, configuration, Exceptions())
    assert {"conv", "block.add", "box"} <= _activations(placement)
    assert not _activations(placement) & {"images", "concat", "softmax"}
    symmetric = {slot.name: slot.symmetric for slot in placement.activations}
    assert not symmetric["relu"] and symmetric["conv"]


def test_exceptions_change_the_encodings_they_name_and_no_others() -> None:
    subject = calibrated()
    plain = subject.encodings(Exceptions())
    exceptions = Exceptions(("box",), ("block.conv2", "concat"), ("score",))
    changed = subject.encodings(exceptions)

    def differing(one: Section, two: Section) -> set[str]:
        assert one.keys() == two.keys()
        return {name for name in one if one[name] != two[name]}

    assert differing(plain.parameters, changed.parameters) == {
        "box.weight",
        "score.weight",
    }
    assert differing(plain.activations, changed.activations) == {
        "block.conv2",
        "concat",
        "score",
    }
    assert not changed.parameters["box.weight"][0].is_symmetric
    assert not changed.activations["concat"][0].is_symmetric
    assert changed.parameters["score.weight"][0].bitwidth == 32
    assert changed.activations["score"][0].bitwidth == 32


def test_a_relu_that_is_called_twice_is_named() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.activation = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.activation(self.second(self.activation(self.first(x))))
            return result

    with pytest.raises(InputError, match="`activation` is called 2 times"):
        place(folded(Reused()).network, symmetric_configuration(), Exceptions())


def test_an_addition_in_a_function_is_named() -> None:
    class Residual(Block):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.relu1(self.conv1(x) + x)
            return result

    module = nn.Sequential(Residual(3))
    with pytest.raises(InputError, match=r"every Add must be a module of its own.*`0` does it"):
        place(folded(module).network, symmetric_configuration(), Exceptions())


def test_a_concatenation_in_a_function_is_named() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((self.left(x), self.right(x)), dim=1)

    with pytest.raises(InputError, match=r"every Concat must be a module of its own.*`Joined`"):
        place(folded(Joined()).network, symmetric_configuration(), Exceptions())


def test_a_batch_norm_that_cannot_be_folded_is_named() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    with pytest.raises(InputError, match="`0` follows no convolution"):
        place(folded(module).network, symmetric_configuration(), Exceptions())
