from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from autosinian.encodings.encoding import Encodings
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.export import export_named, write_onnx
from autosinian.encodings.qdq import ENGINES, asymmetric_layers, quantize_onnx
from autosinian.errors import InputError
from autosinian.quantize.lint import lint, lint_onnx
from autosinian.quantize.simplify import initializers
from tests.encodings.networks import calibrated
from tests.equalize.networks import images

OUTPUTS = ("boxes", "scores")


def _run(model: onnx.ModelProto, inputs: torch.Tensor) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    results: list[NDArray[np.float32]] = session.run(list(OUTPUTS), {"images": inputs.numpy()})
    return results


def _error(given: NDArray[np.float32], expected: torch.Tensor) -> float:
    reference = expected.numpy()
    return float(np.abs(given - reference).max() / np.abs(reference).max())


def test_every_name_of_the_encodings_exists_in_the_exported_file(tmp_path: Path) -> None:
    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(Exceptions())
    tensors = {name for node in model.graph.node for name in node.output}
    tensors.update(item.name for item in model.graph.input)
    assert set(encodings.activations) <= tensors
    assert set(encodings.parameters) <= {item.name for item in model.graph.initializer}
    assert [item.name for item in model.graph.output] == list(OUTPUTS)
    write_onnx(model, tmp_path / "one.onnx")
    write_onnx(export_named(subject.network, (3, 16, 16), OUTPUTS), tmp_path / "two.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert lint_onnx(tmp_path / "one.onnx") == []
    with torch.no_grad():
        for given, expected in zip(_run(model, images(3)), subject.network(images(3)), strict=True):
            assert _error(given, expected) < 1e-5


def test_openvinos_file_computes_what_the_simulation_does() -> None:
    subject = calibrated()
    exceptions = Exceptions((), ("block.conv2",), ("box", "score", "concat"))
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    quantized = quantize_onnx(model, subject.encodings(exceptions), engine="openvino")
    simulated = subject.simulated(exceptions)
    with torch.no_grad():
        for given, expected in zip(_run(quantized, images(8)), simulated(images(8)), strict=True):
            # A tie may be rounded the other way where a float sum is one unit off.
            assert _error(given, expected) < 0.02
    points = {
        item.name: value
        for item in quantized.graph.initializer
        if (value := initializers(quantized.graph)[item.name]).dtype == np.uint8
    }
    assert "relu_zero_point" in points and int(points["block.conv2_zero_point"]) > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_openvino_runs_either_file_in_int8(engine: str) -> None:
    import openvino

    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    exceptions = Exceptions(("box",), ("block.conv2",), ("score",))
    quantized = quantize_onnx(model, subject.encodings(exceptions), engine=engine)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(quantized.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = compiled(images(8).numpy())
    with torch.no_grad():
        expected = subject.network(images(8))[0]
    assert 0.0 < _error(np.asarray(results["boxes"]), expected) < 0.05
    reference = _run(quantized, images(8))[0]
    assert _error(np.asarray(results["boxes"]), torch.from_numpy(reference)) < 0.03
    precisions = {
        str(node.get_rt_info()["runtimePrecision"].astype(str))
        for node in compiled.get_runtime_model().get_ops()
        if str(node.get_rt_info()["layerType"].astype(str)) == "Convolution"
    }
    assert precisions & {"u8", "i8"}


def test_tensorrts_file_has_signed_symmetric_int8_alone() -> None:
    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(Exceptions(("box",), ("block.conv2",)))
    quantized = quantize_onnx(model, encodings, engine="tensorrt")
    assert lint(quantized) == []
    constants = initializers(quantized.graph)
    assert not any(value.dtype == np.uint8 for value in constants.values())
    relu, signed = encodings.activations["relu"][0], encodings.activations["block.conv2"][0]
    assert float(constants["relu_scale"]) == pytest.approx(relu.maximum / 127)
    greater = max(signed.maximum, -signed.minimum)
    assert float(constants["block.conv2_scale"]) == pytest.approx(greater / 127)
    openvino = quantize_onnx(model, encodings, engine="openvino")
    assert lint(openvino, signed=False) == []
    assert any("uint8" in problem for problem in lint(openvino))


def test_asymmetric_weights_are_openvinos_alone() -> None:
    subject = calibrated()
    exceptions = Exceptions(("box",), (), ("score", "concat"))
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(exceptions)
    assert asymmetric_layers(encodings) == ["box"]
    encoding = encodings.parameters["box.weight"][0]
    carried = quantize_onnx(model, encodings, engine="openvino")
    constants = initializers(carried.graph)
    points = constants["box.weight_zero_point"].astype(int)
    assert set(points.tolist()) == {-128 - encoding.offset}
    assert points.any()
    whole = constants["box.weight_quantized"].astype(float)
    weight = subject.network.get_submodule("box").weight.detach().numpy()  # type: ignore[operator]
    assert np.abs((whole - points[0]) * encoding.scale - weight).max() <= 0.501 * encoding.scale
    with torch.no_grad():
        expected = subject.simulated(exceptions)(images(8))[0]
    assert _error(_run(carried, images(8))[0], expected) < 0.02
    symmetric = initializers(quantize_onnx(model, encodings, engine="tensorrt").graph)
    assert not symmetric["box.weight_zero_point"].any()
    greater = max(encoding.maximum, -encoding.minimum)
    assert symmetric["box.weight_scale"] == pytest.approx(greater / 127)
    assert any("zero point is not 0" in problem for problem in lint(carried))


def test_an_addition_within_a_convolution_reads_one_float_and_one_int8() -> None:
    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(Exceptions())
    fused = quantize_onnx(model, encodings, engine="tensorrt", fused_adds=True)
    rounded = quantize_onnx(model, encodings, engine="tensorrt")
    (add,) = (node for node in fused.graph.node if node.op_type == "Add")
    (before,) = (node for node in rounded.graph.node if node.op_type == "Add")
    assert all(name.endswith("_dequantized") for name in before.input)
    assert sorted(name.endswith("_dequantized") for name in add.input) == [False, True]
    (alone,) = (name for name in add.input if not name.endswith("_dequantized"))
    assert {node.op_type for node in fused.graph.node if alone in node.output} == {"Conv"}
    assert lint(fused) == []


@pytest.mark.parametrize("fused_adds", [False, True])
def test_each_tensor_has_one_pair_and_none_follows_another_or_a_concatenation(
    fused_adds: bool,
) -> None:
    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(Exceptions())
    graph = quantize_onnx(model, encodings, engine="tensorrt", fused_adds=fused_adds).graph
    giver = {name: node for node in graph.node for name in node.output}
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    sources = [node.input[0] for node in quantizers]
    assert "Concat" in {node.op_type for node in graph.node}
    assert sources
    assert len(set(sources)) == len(sources)
    kinds = {giver[name].op_type for name in sources if name in giver}
    assert not kinds & {"Concat", "Reshape", "Transpose", "Softmax", "DequantizeLinear"}
    for node in graph.node:
        if node.op_type in ("Concat", "Reshape", "Transpose", "Softmax"):
            assert not any(name.endswith("_dequantized") for name in node.input)


def test_layers_in_higher_precision_stay_float_and_the_lint_knows_them() -> None:
    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(Exceptions(higher_precision=("box",)))
    quantized = quantize_onnx(model, encodings, engine="tensorrt")
    floats = {item.name for item in quantized.graph.initializer if item.data_type == 1}
    assert "box.weight" in floats
    assert "score.weight" not in floats
    assert [problem for problem in lint(quantized) if "box" not in problem] == []
    assert lint(quantized) != []


def test_encodings_of_another_file_and_unknown_engines_are_bad_input() -> None:
    subject = calibrated()
    model = export_named(subject.network, (3, 16, 16), OUTPUTS)
    encodings = subject.encodings(Exceptions())
    with pytest.raises(InputError, match="`aic100`"):
        quantize_onnx(model, encodings, engine="aic100")
    wrong = Encodings({"elsewhere": encodings.activations["relu"]}, encodings.parameters)
    with pytest.raises(InputError, match="`elsewhere`"):
        quantize_onnx(model, wrong, engine="openvino")
