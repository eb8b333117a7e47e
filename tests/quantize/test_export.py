import collections
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.export import export_onnx
from autosinian.quantize.lint import lint_onnx
from tests.quantize.conftest import Quantized
from tests.quantize.networks import RESOLUTIONS, images, plain_network

FAMILIES = tuple(RESOLUTIONS)


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_subnets_give_torchs_logits_at_any_batch_size(
    quantized: Callable[[str], Quantized], family: str
) -> None:
    network = quantized(family)
    session = onnxruntime.InferenceSession(network.fp32, providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape == ["N", 3, network.resolution, network.resolution]
    assert [item.name for item in session.get_outputs()] == ["logits"]
    for count in (1, 5):
        inputs = images(count, 3, network.resolution)
        with torch.no_grad():
            expected = network.module(torch.from_numpy(inputs)).numpy()
        found = session.run(None, {"images": inputs})[0]
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_graphs_hold_only_nodes_that_engines_fuse(
    quantized: Callable[[str], Quantized], family: str
) -> None:
    network = quantized(family)
    model = onnx.load(network.fp32)
    counts = collections.Counter(node.op_type for node in model.graph.node)
    unwanted = {"BatchNormalization", "ReduceMean", "Shape", "Reshape", "Constant", "Identity"}
    assert not unwanted.intersection(counts)
    squeezes = {"proxyless": 0, "mobilenet_v3": 6, "resnet": 0}[family]
    assert counts["GlobalAveragePool"] == 1 + squeezes
    assert counts["Flatten"] == 1
    assert model.opset_import[0].version == 17
    assert lint_onnx(network.fp32) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_weights_give_the_same_bytes(
    quantized: Callable[[str], Quantized], family: str, tmp_path: Path
) -> None:
    network = quantized(family)
    export_onnx(network.module, network.resolution, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == network.fp32.read_bytes()


def test_export_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), plain_network()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_onnx(module, 16, tmp_path / "model.onnx")
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_resolution_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resolution >= 1"):
        export_onnx(plain_network(), 0, tmp_path / "model.onnx")


def test_a_network_too_deep_for_its_resolution_is_a_failed_trial(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 9), torch.nn.Flatten())
    with pytest.raises(TrialFailure, match=r"ONNX export at 4 px") as caught:
        export_onnx(module, 4, tmp_path / "model.onnx")
    assert caught.value.stage == "quantize"
    assert list(tmp_path.iterdir()) == []
