from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.processor import usable_cores
from autosinian.engine.protocol import Engine
from autosinian.errors import InputError, TrialFailure
from autosinian.space.candidate import EngineConfig
from autosinian.testing.engine_conformance import EngineConformance
from tests.engine.small_models import write_conv_model, write_unknown_operator_model


class _OpenVino(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        engine = OpenVinoEngine()
        if self.precision not in engine.precisions():
            pytest.skip(f"this processor does not compute in {self.precision}")
        return engine

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        path = tmp_path_factory.mktemp("model") / "model.onnx"
        return write_conv_model(path, int8=self.precision == "int8")


class TestFp32(_OpenVino):
    precision = "fp32"


class TestFp32TwoStreams(_OpenVino):
    precision = "fp32"
    options = (("streams", min(2, usable_cores())), ("threads", min(2, usable_cores())))


class TestFp32DynamicPartialBatch(_OpenVino):
    precision = "fp32"
    options = (("partial_batch", "dynamic"),)


class TestBf16(_OpenVino):
    precision = "bf16"
    tolerance = 2e-2


class TestInt8(_OpenVino):
    precision = "int8"
    # One step of an int8 activation.
    tolerance = 2e-2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_conv_model(tmp_path / "model.onnx")


def logits_of_onnxruntime(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(None, {"images": inputs})[0]
    return logits


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 2e-2), ("int8", 2e-2)])
def test_logits_agree_with_onnxruntime(precision: str, bound: float, tmp_path: Path) -> None:
    engine = OpenVinoEngine()
    if precision not in engine.precisions():
        pytest.skip(f"this processor does not compute in {precision}")
    model = write_conv_model(tmp_path / "model.onnx", int8=precision == "int8")
    config = EngineConfig.make("openvino", 4)
    engine.build(model, precision, config, tmp_path / "model.engine")
    session = engine.open(tmp_path / "model.engine", config)
    inputs = np.random.default_rng(1).standard_normal((4, 3, 16, 16)).astype(np.float32)
    wanted = logits_of_onnxruntime(model, inputs)
    given = session.infer(inputs)
    session.close()
    assert np.abs(given - wanted).max() <= bound * np.abs(wanted).max()


def test_fp32_runs_in_fp32_and_bf16_in_bf16_after_a_trip_through_the_file(
    model: Path, tmp_path: Path
) -> None:
    engine = OpenVinoEngine()
    config = EngineConfig.make("openvino", 2)
    found = {}
    for precision in engine.precisions():
        engine.build(model, precision, config, tmp_path / "model.engine")
        session = engine.open(tmp_path / "model.engine", config)
        found[precision] = session.properties()["precision"]
        session.close()
    assert found["fp32"] == found["int8"] == "f32"
    assert found.get("bf16", "bf16") == "bf16"


def test_streams_threads_and_pinning_change_without_a_rebuild(model: Path, tmp_path: Path) -> None:
    if usable_cores() < 2:
        pytest.skip("needs two cores")
    engine = OpenVinoEngine()
    built = EngineConfig.make("openvino", 2, streams=1, threads=1)
    engine.build(model, "fp32", built, tmp_path / "model.engine")
    other = EngineConfig.make("openvino", 2, streams=2, threads=2, cpu_pinning=False)
    session = engine.open(tmp_path / "model.engine", other)
    properties = session.properties()
    session.close()
    assert (properties["streams"], properties["threads"]) == (2, 2)
    assert properties["cpu_pinning"] is False


def test_another_way_of_partial_batches_needs_a_rebuild(model: Path, tmp_path: Path) -> None:
    engine = OpenVinoEngine()
    engine.build(model, "fp32", EngineConfig.make("openvino", 2), tmp_path / "model.engine")
    with pytest.raises(InputError, match="partial_batch was 'pad' and is to be 'dynamic'"):
        engine.open(
            tmp_path / "model.engine", EngineConfig.make("openvino", 2, partial_batch="dynamic")
        )


def test_an_unknown_operator_is_a_failed_build(tmp_path: Path) -> None:
    model = write_unknown_operator_model(tmp_path / "model.onnx")
    with pytest.raises(TrialFailure, match="Frobnicate") as raised:
        OpenVinoEngine().build(
            model, "fp32", EngineConfig.make("openvino", 1), tmp_path / "model.engine"
        )
    assert raised.value.stage == "build"
    assert not (tmp_path / "model.engine").exists()


@pytest.mark.parametrize("value", [0, 10_000, 1.5, True, "2"])
def test_streams_out_of_range_are_bad_input(
    value: int | float | bool | str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="streams must be an integer from 1 to"):
        OpenVinoEngine().build(
            model,
            "fp32",
            EngineConfig.make("openvino", 1, streams=value),
            tmp_path / "model.engine",
        )


def test_an_engine_file_that_cannot_be_written_is_a_transient_failure(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").write_text("a file, not a folder")
    with pytest.raises(TrialFailure, match="cannot be written") as raised:
        OpenVinoEngine().build(
            model, "fp32", EngineConfig.make("openvino", 1), tmp_path / "folder" / "model.engine"
        )
    assert raised.value.transient
