"""SSD-ResNet34 must be the published network, and traceable."""

import pytest
import torch
from torch import nn

from autosinian.detection.checkpoint import Detector
from autosinian.detection.layout import LAYOUTS
from autosinian.detection.network import Add, Concat, SsdConfig, SsdResNet34
from autosinian.equalize.graph import trace
from autosinian.errors import InputError


def _count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.fixture(scope="module")
def published() -> SsdResNet34:
    with torch.device("meta"):
        return SsdResNet34(SsdConfig())


def test_the_published_size_has_its_parameters_and_layers(published: SsdResNet34) -> None:
    assert sum(p.numel() for p in published.parameters()) == 19_972_534
    assert _count(published, nn.Conv2d) == 51
    assert _count(published, nn.BatchNorm2d) == 29
    assert _count(published, nn.ReLU) == 1 + 2 * 13 + 2 * 5


def test_quarter_width_for_three_classes_has_930_thousand_parameters() -> None:
    with torch.device("meta"):
        network = SsdResNet34(SsdConfig(classes=4, width=0.25, image_size=300))
    assert sum(p.numel() for p in network.parameters()) == 931_936


@pytest.mark.parametrize(("size", "boxes"), [(300, 8732), (1200, 15130)])
def test_feature_maps_and_boxes_are_those_of_the_layout(size: int, boxes: int) -> None:
    with torch.device("meta"):
        network = SsdResNet34(SsdConfig(classes=5, width=1 / 16, image_size=size))
        images = torch.empty(2, 3, size, size)
    sides: list[int] = []
    network.model.register_forward_hook(lambda m, i, o: sides.append(o.shape[-1]))
    for block in network.additional_blocks:
        block.register_forward_hook(lambda m, i, o: sides.append(o.shape[-1]))
    offsets, scores = network(images)
    assert tuple(sides) == LAYOUTS[size].feature_maps
    assert LAYOUTS[size].boxes == boxes
    assert offsets.shape == (2, 4, boxes)
    assert scores.shape == (2, 5, boxes)


def test_tracing_by_fx_keeps_what_is_computed(narrow: Detector) -> None:
    traced = trace(narrow.network)
    images = torch.randn(1, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for found, expected in zip(traced(images), narrow.network(images), strict=True):
            assert torch.equal(found, expected)
    relus = [
        str(node.target)
        for node in traced.graph.nodes
        if node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), nn.ReLU)
    ]
    assert len(relus) == len(set(relus)) == 37
    assert (_count(narrow.network, Add), _count(narrow.network, Concat)) == (13, 2)


def test_scores_sum_to_one_over_the_classes(narrow: Detector) -> None:
    with torch.no_grad():
        _, scores = narrow.network(torch.zeros(1, 3, 300, 300))
    assert torch.allclose(scores.sum(1), torch.ones(1, 8732), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"image_size": 512}, "must be 300 or 1200 pixels, but got 512"),
        ({"classes": 1}, "at least one class"),
        ({"width": 0.0}, "must be above 0"),
    ],
)
def test_what_is_not_defined_is_refused(config: dict[str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        SsdConfig(**config)  # type: ignore[arg-type]
