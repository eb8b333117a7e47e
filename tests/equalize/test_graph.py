import pytest
import torch
from torch import Tensor, nn

from autosinian.equalize.graph import SHAPE, kind, own_name, trace
from autosinian.errors import InputError
from tests.equalize.networks import detectorlike


def test_operations_are_called_by_their_modules() -> None:
    network = trace(detectorlike())
    names = {own_name(network, node): kind(network, node) for node in network.graph.nodes}
    assert names["images"] == "Input"
    assert names["conv"] == "Conv"
    assert names["block.add"] == "Add"
    assert names["concat"] == "Concat"
    assert names["softmax"] == "Softmax"


def test_a_functional_addition_has_no_name() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.conv(x) + x
            return result

    network = trace(Functional())
    additions = [node for node in network.graph.nodes if kind(network, node) == "Add"]
    assert [own_name(network, node) for node in additions] == [None]


def test_computing_with_sizes_is_no_operation() -> None:
    class View(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(x.size(0), x.shape[1] * x.shape[2] + 0, -1)

    network = trace(View())
    kinds = [kind(network, node) for node in network.graph.nodes]
    assert set(kinds) == {"Input", SHAPE, "Reshape", "Output"}


def test_tracing_leaves_the_module_as_it_was() -> None:
    module = detectorlike().train()
    traced = trace(module)
    assert module.training
    assert module.block.relu1.inplace
    assert not traced.training
    assert not any(getattr(part, "inplace", False) for part in traced.modules())


def test_a_path_that_depends_on_values_is_bad_input() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else torch.relu(x)

    with pytest.raises(InputError, match="Branching"):
        trace(Branching())
