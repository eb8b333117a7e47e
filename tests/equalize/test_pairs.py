import torchvision
from torch import Tensor, nn

from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.equalize.fold import fold_batch_norms
from autosinian.equalize.graph import trace
from autosinian.equalize.pairs import Pair, find_pairs
from tests.equalize.networks import detectorlike


def _pairs(module: nn.Module) -> list[Pair]:
    network = trace(module)
    fold_batch_norms(network)
    return find_pairs(network)


def test_ssd_resnet34_has_18_pairs() -> None:
    for size in (300, 1200):
        pairs = _pairs(SsdResNet34(SsdConfig(classes=4, width=0.0625, image_size=size)))
        assert len(pairs) == 18
        blocks = [pair for pair in pairs if pair.first.endswith("conv1")]
        assert len(blocks) == 13
        assert all(pair.second == pair.first.replace("conv1", "conv2") for pair in blocks)


def test_no_pair_crosses_a_branch_or_an_addition() -> None:
    assert _pairs(detectorlike()) == [Pair("block.conv1", "block.conv2", ("Relu",))]


def test_resnet18_has_a_pair_in_each_block() -> None:
    assert len(_pairs(torchvision.models.resnet18())) == 8


def test_relu6_and_regrouped_channels_end_the_search() -> None:
    clipped = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1))
    flattened = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 4))
    assert _pairs(clipped) == _pairs(flattened) == []


def test_pooling_and_dropout_between_do_not() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(), nn.Conv2d(4, 4, 1)
    )
    assert _pairs(network) == [Pair("0", "4", ("Relu", "MaxPool", "Identity"))]


def test_a_layer_that_is_called_twice_is_in_no_pair() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 1)
            self.relu = nn.ReLU()
            self.second = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.second(self.relu(self.first(self.first(x))))
            return result

    assert _pairs(Twice()) == []
