from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from autosinian.quantize.export import export_onnx
from autosinian.quantize.simplify import attributes


class _Pool(torch.nn.Module):
    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x.mean(3, keepdim=self.keep).mean(2, keepdim=self.keep)
        return pooled.view(pooled.size(0), -1) if self.keep else pooled


class _MeansOfOtherAxes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(3).mean(1)


def _exported(module: torch.nn.Module, resolution: int, path: Path) -> onnx.ModelProto:
    export_onnx(module, resolution, path)
    inputs = torch.randn(2, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": inputs.numpy()})[0]
    np.testing.assert_allclose(found, module(inputs).detach().numpy(), atol=1e-5)
    return onnx.load(path)


@pytest.mark.parametrize("keep", [False, True])
def test_two_means_become_one_global_average_pool(tmp_path: Path, keep: bool) -> None:
    model = _exported(_Pool(keep), 8, tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["GlobalAveragePool", "Flatten"]


def test_means_over_other_axes_stay(tmp_path: Path) -> None:
    model = _exported(_MeansOfOtherAxes(), 8, tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["ReduceMean", "ReduceMean"]


def test_average_pooling_by_one_disappears(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.AvgPool2d(1, 1, ceil_mode=True), torch.nn.ReLU())
    model = _exported(module, 8, tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["Relu"]


@pytest.mark.parametrize(("resolution", "ceil_mode"), [(8, 0), (7, 1)])
def test_average_pooling_rounds_up_only_where_it_must(
    tmp_path: Path, resolution: int, ceil_mode: int
) -> None:
    module = torch.nn.AvgPool2d(2, 2, ceil_mode=True)
    model = _exported(module, resolution, tmp_path / "model.onnx")
    assert attributes(model.graph.node[0])["ceil_mode"] == ceil_mode


def test_folded_weights_are_named_after_their_layer(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
    model = _exported(module, 8, tmp_path / "model.onnx")
    assert {item.name for item in model.graph.initializer} == {"0.weight", "0.bias"}


def test_layers_with_equal_weights_have_each_their_own(tmp_path: Path) -> None:
    layers = [torch.nn.Conv2d(3, 3, 1) for _ in range(3)]
    for layer in layers:
        layer.load_state_dict(layers[0].state_dict())
    model = _exported(torch.nn.Sequential(*layers), 8, tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["Conv"] * 3
    assert {item.name for item in model.graph.initializer} == {
        f"{layer}.{role}" for layer in range(3) for role in ("weight", "bias")
    }


def test_one_layer_used_twice_keeps_its_logits(tmp_path: Path) -> None:
    layer = torch.nn.Conv2d(3, 3, 1)
    _exported(torch.nn.Sequential(layer, torch.nn.ReLU(), layer), 8, tmp_path / "model.onnx")
