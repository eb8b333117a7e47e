"""The PyTorch engine on the processor, and on a GPU where the marker `gpu` asks for one.

What is marked needs numpy, onnx, torch and pytest alone.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from autosinian.engine.processor import usable_cores
from autosinian.engine.protocol import Engine, ResidentSession
from autosinian.engine.torch_engine import TorchEngine
from autosinian.engine.torch_graph import reference_logits
from autosinian.errors import InputError, TrialFailure
from autosinian.space.candidate import EngineConfig, Option
from autosinian.testing.resident_conformance import ResidentConformance
from tests.engine.gpu_models import mobile_model, quantized, residual_model, written
from tests.engine.small_models import write_conv_model, write_unknown_operator_model

# Of the largest logit.
BOUNDS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
TWO = min(2, usable_cores())


class _OnCpu(ResidentConformance):
    @pytest.fixture(scope="class")
    def engine(self) -> Iterator[Engine]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            engine = TorchEngine()
            if self.precision not in engine.precisions():
                pytest.skip(f"{engine.device()} does not compute in {self.precision}")
            yield engine

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_conv_model(tmp_path_factory.mktemp("model") / "model.onnx")


class TestFp32(_OnCpu):
    precision = "fp32"


class TestFp32TwoStreams(_OnCpu):
    precision = "fp32"
    options = (("streams", TWO), ("threads", TWO), ("partial_batch", "ladder"))


class TestFp32ChannelsLast(_OnCpu):
    precision = "fp32"
    options = (("channels_last", True),)


class TestBf16(_OnCpu):
    precision = "bf16"
    tolerance = 2e-2


class _OnGpu(ResidentConformance):
    pytestmark = pytest.mark.gpu

    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return gpu_engine()

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return written(mobile_model(), tmp_path_factory.mktemp("model") / "model.onnx")


def gpu_engine() -> TorchEngine:
    """The engine where it computes on a GPU; fails where there is none."""
    engine = TorchEngine()
    assert engine.uses_gpu(), "the marker `gpu` asks for a GPU, but none is visible"
    assert torch.cuda.is_available(), "torch must be built for the GPU that is there"
    return engine


class TestGpuFp32(_OnGpu):
    precision = "fp32"


class TestGpuFp32WithoutGraphs(_OnGpu):
    precision = "fp32"
    options = (("graphs", False), ("copy_streams", 0))


class TestGpuFp16(_OnGpu):
    precision = "fp16"
    tolerance = 1e-2


class TestGpuBf16ChannelsFirst(_OnGpu):
    precision = "bf16"
    tolerance = 5e-2
    options = (("channels_last", False),)


class TestGpuFp16SamplesOnDevice(_OnGpu):
    precision = "fp16"
    tolerance = 1e-2
    options = (("samples", "device"), ("partial_batch", "ladder"))


class TestGpuFp16SamplesOnDeviceWithoutGraphs(_OnGpu):
    precision = "fp16"
    tolerance = 1e-2
    options = (("samples", "device"), ("graphs", False), ("streams", 2))


class TestGpuFp16Streams(_OnGpu):
    precision = "fp16"
    tolerance = 1e-2
    options = (("streams", 2), ("copy_streams", 2), ("partial_batch", "ladder"))


class TestGpuFp16SamplesOnDeviceStreams(_OnGpu):
    precision = "fp16"
    tolerance = 1e-2
    options = (("samples", "device"), ("streams", 4), ("partial_batch", "ladder"))


class TestGpuFp16Compiled(_OnGpu):
    precision = "fp16"
    tolerance = 1e-2
    options = (("compile", "default"),)

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return written(residual_model(), tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> TorchEngine:
    """The engine as on a machine without a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return TorchEngine()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_conv_model(tmp_path / "model.onnx")


def opened(
    engine: TorchEngine, model: Path, precision: str, batch_size: int, **options: Option
) -> ResidentSession:
    """A session on a fresh engine file beside `model`."""
    config = EngineConfig.make("torch", batch_size, **options)
    engine.build(model, precision, config, model.with_suffix(".engine"))
    return engine.open(model.with_suffix(".engine"), config)


def images(count: int, size: int, seed: int = 1) -> NDArray[np.float32]:
    """`count x 3 x size x size`, standard normal."""
    shape = (count, 3, size, size)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def error(given: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Of the largest logit."""
    return float(np.abs(given - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("make", [residual_model, mobile_model])
def test_logits_are_those_of_the_reference(
    on_cpu: TorchEngine, make: Any, channels_last: bool, tmp_path: Path
) -> None:
    network = make()
    size = network.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    model, inputs = written(network, tmp_path / "model.onnx"), images(4, size)
    wanted = reference_logits(model, inputs)
    for precision in on_cpu.precisions():
        session = opened(on_cpu, model, precision, 4, channels_last=channels_last)
        assert error(session.infer(inputs), wanted) <= BOUNDS[precision]
        session.close()


def test_a_quantized_file_runs_as_its_reference_in_fp32(
    on_cpu: TorchEngine, tmp_path: Path
) -> None:
    model = written(quantized(mobile_model()), tmp_path / "model.onnx")
    session = opened(on_cpu, model, "fp32", 8)
    inputs = images(8, 20)
    given = session.infer(inputs)
    session.close()
    np.testing.assert_allclose(given, reference_logits(model, inputs), rtol=1e-5, atol=1e-6)


def test_the_engine_agrees_with_openvino(on_cpu: TorchEngine, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from autosinian.engine.openvino import OpenVinoEngine

    model = written(mobile_model(), tmp_path / "model.onnx")
    inputs = images(32, 20)
    config = EngineConfig.make("openvino", 32, threads=1)
    OpenVinoEngine().build(model, "fp32", config, tmp_path / "openvino.engine")
    other = OpenVinoEngine().open(tmp_path / "openvino.engine", config)
    session = opened(on_cpu, model, "fp32", 32)
    given, wanted = session.infer(inputs), other.infer(inputs)
    session.close()
    other.close()
    assert error(given, wanted) <= 1e-5
    np.testing.assert_array_equal(given.argmax(axis=1), wanted.argmax(axis=1))


def test_every_option_changes_without_a_rebuild(
    on_cpu: TorchEngine, model: Path, tmp_path: Path
) -> None:
    on_cpu.build(model, "fp32", EngineConfig.make("torch", 3), tmp_path / "model.engine")
    assert not any(tunable.rebuild for tunable in on_cpu.tunables())
    config = EngineConfig.make(
        "torch", 3, streams=TWO, threads=1, channels_last=True, partial_batch="ladder"
    )
    session = on_cpu.open(tmp_path / "model.engine", config)
    assert (session.streams, session.batch_size) == (TWO, 3)
    session.close()


def test_what_needs_a_gpu_is_no_option_without_one(
    on_cpu: TorchEngine, model: Path, tmp_path: Path
) -> None:
    names = {tunable.name for tunable in on_cpu.tunables()}
    assert names == {"streams", "threads", "channels_last", "compile", "partial_batch"}
    with pytest.raises(InputError, match=r"must be one of .*, got 'graphs'"):
        on_cpu.build(model, "fp32", EngineConfig.make("torch", 1, graphs=True), tmp_path / "x")


def test_an_unknown_operator_is_a_failed_build(on_cpu: TorchEngine, tmp_path: Path) -> None:
    model = write_unknown_operator_model(tmp_path / "model.onnx")
    with pytest.raises(TrialFailure, match="Frobnicate") as raised:
        on_cpu.build(model, "fp32", EngineConfig.make("torch", 1), tmp_path / "model.engine")
    assert raised.value.stage == "build"
    assert not (tmp_path / "model.engine").exists()


def test_a_file_for_one_batch_size_alone_is_a_failed_build(
    on_cpu: TorchEngine, tmp_path: Path
) -> None:
    network = mobile_model()
    flatten = next(node for node in network.graph.node if node.op_type == "Flatten")
    shape = onnx.numpy_helper.from_array(np.array([1, 48], np.int64), "shape")
    network.graph.initializer.append(shape)
    inputs, outputs = [flatten.input[0], "shape"], list(flatten.output)
    flatten.CopyFrom(onnx.helper.make_node("Reshape", inputs, outputs, "view"))
    model = written(network, tmp_path / "model.onnx")
    with pytest.raises(TrialFailure, match="cannot run at batch 4") as raised:
        on_cpu.build(model, "fp32", EngineConfig.make("torch", 4), tmp_path / "model.engine")
    assert "\n" not in str(raised.value)


def test_a_worker_of_this_engine_imports_torch_and_no_other_engine(
    on_cpu: TorchEngine, tmp_path: Path
) -> None:
    pytest.importorskip("mlperf_loadgen")
    from autosinian.measure.measurement import BuildJob, Job
    from autosinian.measure.process import build, run
    from tests.engine.small_models import label_samples, write_label_model

    limits: dict[str, Any] = {"time_limit_s": 60.0, "memory_limit_bytes": 4 << 30}
    samples, labels = label_samples(100)
    np.save(tmp_path / "inputs.npy", samples)
    np.save(tmp_path / "labels.npy", labels)
    engine = {"engine": "torch", "batch_size": 8, "options": {"threads": 1}}
    model, engine_file = write_label_model(tmp_path / "model.onnx"), str(tmp_path / "model.engine")
    build(BuildJob(engine, str(model), "fp32", engine_file, str(tmp_path / "log")), **limits)
    job = Job(
        engine,
        engine_file=engine_file,
        inputs=str(tmp_path / "inputs.npy"),
        labels=str(tmp_path / "labels.npy"),
        scenario="Offline",
        mode="AccuracyOnly",
        output_folder=str(tmp_path / "run"),
    )
    assert run(job, **limits).accuracy == 1.0
    modules = set(json.loads((tmp_path / "run" / "run_result.json").read_text())["modules"])
    assert {"torch", "mlperf_loadgen"} <= modules
    assert not modules & {"openvino", "tensorrt", "onnxruntime", "ofa", "optuna", "torchvision"}


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("make", [residual_model, mobile_model])
def test_logits_on_a_gpu_are_those_of_the_reference(
    make: Any, graphs: bool, tmp_path: Path
) -> None:
    engine, network = gpu_engine(), make()
    size = network.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    model, inputs = written(network, tmp_path / "model.onnx"), images(7, size)
    wanted = reference_logits(model, inputs)
    for precision in engine.precisions():
        session = opened(engine, model, precision, 7, graphs=graphs)
        assert error(session.infer(inputs), wanted) <= BOUNDS[precision]
        session.close()


@pytest.mark.gpu
def test_a_quantized_file_has_the_labels_of_its_reference_on_a_gpu(tmp_path: Path) -> None:
    model = written(quantized(mobile_model()), tmp_path / "model.onnx")
    session = opened(gpu_engine(), model, "fp32", 32)
    inputs = images(32, 20)
    given, wanted = session.infer(inputs), reference_logits(model, inputs)
    session.close()
    assert np.median(np.abs(given - wanted).max(axis=1) / np.abs(wanted).max()) <= 1e-5
    assert (given.argmax(axis=1) == wanted.argmax(axis=1)).mean() >= 0.95


def six_times(session: ResidentSession, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """The logits of `rows`, submitted six times at once."""
    given: list[NDArray[np.float32]] = []
    for _ in range(6):
        session.submit_rows(rows, lambda logits, _: given.append(logits.copy()))  # type: ignore[union-attr]
    session.wait()
    return given


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [True, False])
def test_more_samples_are_placed_on_a_gpu_after_fewer(graphs: bool, tmp_path: Path) -> None:
    model = written(residual_model(), tmp_path / "model.onnx")
    session = opened(gpu_engine(), model, "fp32", 4, samples="device", graphs=graphs, streams=2)
    for count in (3, 50, 7, 700):
        samples = images(count, 24, seed=count)
        session.place(samples)
        rows = np.array([count - 1, 0, count // 2])
        given = six_times(session, rows)
        wanted = reference_logits(model, samples[rows])
        assert len(given) == 6
        assert all(error(logits, wanted) <= BOUNDS["fp32"] for logits in given)
    session.close()


@pytest.mark.gpu
@pytest.mark.parametrize("samples", ["host", "device"])
def test_nothing_is_allocated_on_a_gpu_while_graphs_are_replayed(
    samples: str, tmp_path: Path
) -> None:
    model = written(residual_model(), tmp_path / "model.onnx")
    session = opened(gpu_engine(), model, "fp16", 8, samples=samples, partial_batch="ladder")
    session.place(images(64, 24))
    generator = np.random.default_rng(0)

    def serve() -> None:
        for _ in range(20):
            rows = generator.integers(0, 64, int(generator.integers(1, 9)))
            session.submit_rows(rows, lambda _logits, _error: None)
        session.wait()

    serve()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    serve()
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before
    session.close()


@pytest.mark.gpu
def test_a_closed_session_gives_its_gpu_memory_back(tmp_path: Path) -> None:
    model, engine = written(residual_model(), tmp_path / "model.onnx"), gpu_engine()
    samples = np.zeros((200_000, 3, 24, 24), np.float32)  # 0.69 GB in fp16
    before = torch.cuda.memory_reserved()
    for _ in range(3):
        session = opened(engine, model, "fp16", 64, samples="device", streams=2)
        session.place(samples)
        session.infer_rows(np.arange(64))
        session.close()
    # torch itself keeps tens of MB for each stream that it has ever used.
    assert torch.cuda.memory_reserved() - before < 1e9


@pytest.mark.gpu
def test_a_batch_that_no_gpu_holds_is_a_failed_build(tmp_path: Path) -> None:
    model, engine = write_conv_model(tmp_path / "model.onnx"), gpu_engine()
    config = EngineConfig.make("torch", 500_000_000)
    with pytest.raises(TrialFailure, match="GPU out of memory at batch 500000000") as raised:
        engine.build(model, "fp32", config, tmp_path / "model.engine")
    assert raised.value.stage == "build"
    assert "\n" not in str(raised.value)
    session = opened(engine, model, "fp32", 2)
    session.infer(images(2, 16))
    session.close()
