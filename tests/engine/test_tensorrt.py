"""TensorRT on a GPU; `numpy`, `onnx`, `cuda-bindings` and TensorRT are enough to run it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from autosinian.engine.protocol import Engine, ResidentSession
from autosinian.engine.tensorrt import TensorRtEngine
from autosinian.engine.tensorrt_versions import installed
from autosinian.errors import InputError, TrialFailure
from autosinian.space.candidate import EngineConfig, Option
from autosinian.testing.resident_conformance import ResidentConformance
from tests.engine.gpu_models import (
    mobile_model,
    quantized,
    reference_logits,
    residual_model,
    written,
)
from tests.engine.small_models import write_conv_model, write_unknown_operator_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.gpu

# The quickest build; what the builder tries makes no difference to what is tested here.
QUICK = ("optimization_level", 0)


class _TensorRt(ResidentConformance):
    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return TensorRtEngine()

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        model = residual_model()
        if self.precision == "int8":
            model = quantized(model)
        return written(model, tmp_path_factory.mktemp("model") / "model.onnx")


class TestFp32(_TensorRt):
    precision = "fp32"
    options = (QUICK,)


class TestFp32WithoutGraphs(_TensorRt):
    precision = "fp32"
    options = (QUICK, ("graphs", False))


class TestFp32Ladder(_TensorRt):
    precision = "fp32"
    options = (QUICK, ("partial_batch", "ladder"))
    # Each batch size may run through other kernels.
    tolerance = 1e-3


class TestFp16(_TensorRt):
    precision = "fp16"
    options = (QUICK,)
    # A row elsewhere in the batch may be summed in another order.
    tolerance = 2e-3


class TestFp16LadderWithoutGraphs(_TensorRt):
    precision = "fp16"
    options = (QUICK, ("graphs", False), ("partial_batch", "ladder"), ("streams", 2))
    tolerance = 2e-2


class TestFp16OnDeviceTwoStreamsTwoCopyStreams(_TensorRt):
    precision = "fp16"
    options = (QUICK, ("streams", 2), ("copy_streams", 2), ("samples", "device"))
    tolerance = 2e-3


class TestInt8(_TensorRt):
    precision = "int8"
    options = (QUICK,)


class TestInt8LadderCopyStream(_TensorRt):
    precision = "int8"
    options = (QUICK, ("partial_batch", "ladder"), ("copy_streams", 1), ("streams", 2))
    # One step of an int8 activation.
    tolerance = 3e-2


class TestInt8Implicit(_TensorRt):
    precision = "int8"
    options = (QUICK, ("int8_mode", "implicit"))

    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        if not installed().implicit_int8:
            pytest.skip("implicit INT8 is TensorRT 8's alone")
        return TensorRtEngine()


class TestInt8AuxiliaryStreams(_TensorRt):
    precision = "int8"
    options = (QUICK, ("aux_streams", 2))


@pytest.fixture(scope="module")
def engine() -> TensorRtEngine:
    return TensorRtEngine()


def opened(
    engine: TensorRtEngine, model: Path, precision: str, batch: int, **options: int | bool | str
) -> ResidentSession:
    config = EngineConfig.make("tensorrt", batch, **{"optimization_level": 0, **options})
    file = model.with_suffix(".engine")
    engine.build(model, precision, config, file)
    session: ResidentSession = engine.open(file, config)
    return session


@pytest.mark.parametrize("network", [residual_model, mobile_model])
@pytest.mark.parametrize(
    ("precision", "mode", "bound"),
    [
        ("fp32", "explicit", 1e-3),
        ("fp16", "explicit", 1e-2),
        ("int8", "explicit", 6e-2),
        ("int8", "implicit", 2e-1),
    ],
)
def test_logits_agree_with_the_reference(
    engine: TensorRtEngine,
    network: Callable[[], onnx.ModelProto],
    precision: str,
    mode: str,
    bound: float,
    tmp_path: Path,
) -> None:
    if mode == "implicit" and not installed().implicit_int8:
        pytest.skip("implicit INT8 is TensorRT 8's alone")
    model = quantized(network()) if precision == "int8" else network()
    path = written(model, tmp_path / "model.onnx")
    session = opened(engine, path, precision, 8, int8_mode=mode)
    shape = (8, *session.input_shape)
    inputs = np.random.default_rng(8).standard_normal(shape).astype(np.float32)
    given, wanted = session.infer(inputs), reference_logits(model, inputs)
    session.close()
    error = float(np.abs(given - wanted).max() / np.abs(wanted).max())
    print(f"{precision} {mode}: largest difference {error:.2%} of the largest logit")
    assert error <= bound


@pytest.mark.parametrize("sample_bytes", [1, 75, 108, 150, 432, 16384, 40000, 150528])
@pytest.mark.parametrize("on_device", [False, True])
def test_samples_of_any_size_are_gathered_whole(sample_bytes: int, on_device: bool) -> None:
    from autosinian.engine import cuda
    from autosinian.engine.gather import DEVICE_BLOCKS, HOST_BLOCKS, Gather

    cuda.start()
    generator = np.random.default_rng(sample_bytes)
    samples = generator.integers(0, 255, (50, sample_bytes), np.uint8)
    source: cuda.DeviceBuffer | cuda.PinnedBuffer
    if on_device:
        source = cuda.DeviceBuffer(samples.nbytes)
        source.write(samples)
    else:
        source = cuda.PinnedBuffer(samples.nbytes)
        source.view(np.uint8, *samples.shape)[:] = samples
    gather, stream = Gather(), cuda.Stream()
    blocks = DEVICE_BLOCKS if on_device else HOST_BLOCKS
    for count in (1, 3, 40):
        out, back = cuda.DeviceBuffer(count * sample_bytes), cuda.PinnedBuffer(count * sample_bytes)
        addresses = cuda.PinnedBuffer(8 * count)
        rows = generator.integers(0, 50, count)
        view = addresses.view(np.uint64, count)
        view[:] = source.address + rows.astype(np.uint64) * np.uint64(sample_bytes)
        view[-1] = 0  # stays as it is: all 0
        gather.launcher(addresses, out, sample_bytes, count, blocks)(stream)
        cuda.copy_to_host(back, out, count * sample_bytes, stream)
        stream.synchronize()
        wanted = samples[rows]
        wanted[-1] = 0
        np.testing.assert_array_equal(back.view(np.uint8, count, sample_bytes), wanted)
        for buffer in (out, back, addresses):
            buffer.close()
    for part in (source, gather, stream):
        part.close()


def test_what_is_written_to_the_device_is_there_for_every_stream() -> None:
    from autosinian.engine import cuda

    cuda.start()
    size = (4 << 20) + 5
    there, back, stream = cuda.DeviceBuffer(size), cuda.PinnedBuffer(size), cuda.Stream()
    for value in range(50):
        content = np.full(size, value, np.uint8)  # pageable memory
        there.write(content)
        cuda.copy_to_host(back, there, size, stream)
        stream.synchronize()
        np.testing.assert_array_equal(back.view(np.uint8, size), content)
    for part in (there, back, stream):
        part.close()


def test_odd_samples_lie_in_host_or_device_memory(engine: TensorRtEngine, tmp_path: Path) -> None:
    path = write_conv_model(tmp_path / "model.onnx", int8=True, size=5)
    opened(engine, path, "int8", 6).close()
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((40, 3, 5, 5)).astype(np.float32)
    for where in ("host", "device"):
        config = EngineConfig.make("tensorrt", 6, optimization_level=0, samples=where)
        session = engine.open(path.with_suffix(".engine"), config)
        session.place(samples)
        for count in (1, 2, 5, 6):
            rows = generator.integers(0, 40, count)
            np.testing.assert_array_equal(session.infer_rows(rows), session.infer(samples[rows]))
        session.close()


def test_what_needs_no_rebuild_changes_without_one(engine: TensorRtEngine, tmp_path: Path) -> None:
    path = written(quantized(residual_model()), tmp_path / "model.onnx")
    opened(engine, path, "int8", 4).close()
    file = path.with_suffix(".engine")
    inputs = np.random.default_rng(0).standard_normal((4, 3, 24, 24)).astype(np.float32)
    results: list[NDArray[np.float32]] = []
    several: list[dict[str, Option]] = [
        {"streams": 1},
        {"streams": 3, "copy_streams": 2},
        {"graphs": False, "samples": "device"},
    ]
    for options in several:
        config = EngineConfig.make("tensorrt", 4, **{"optimization_level": 0} | options)
        session = engine.open(file, config)
        assert session.streams == options.get("streams", 1)
        session.place(inputs)
        results.append(session.infer_rows(np.array([3, 2, 1, 0])))
        session.close()
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    with pytest.raises(InputError, match="partial_batch was 'pad' and is to be 'ladder'"):
        engine.open(
            file,
            EngineConfig.make("tensorrt", 4, optimization_level=0, partial_batch="ladder"),
        )


def test_another_thread_may_submit(engine: TensorRtEngine, tmp_path: Path) -> None:
    path = written(residual_model(), tmp_path / "model.onnx")
    # Without graphs, so that the kernel is launched from there too.
    session = opened(engine, path, "fp32", 4, graphs=False, copy_streams=1)
    samples = np.random.default_rng(0).standard_normal((9, 3, 24, 24)).astype(np.float32)
    session.place(samples)
    given: list[NDArray[np.float32]] = []

    def work() -> None:
        for first in range(6):
            rows = np.arange(first, first + 3)
            session.submit_rows(rows, lambda logits, _: given.append(logits.copy()))  # type: ignore[union-attr]
        session.wait()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    wanted = session.infer(samples[0:3])
    session.close()
    assert len(given) == 6
    np.testing.assert_allclose(given[0], wanted, atol=1e-5)


def test_an_operator_that_tensorrt_does_not_know_is_named(
    engine: TensorRtEngine, tmp_path: Path
) -> None:
    model = write_unknown_operator_model(tmp_path / "model.onnx")
    with pytest.raises(TrialFailure, match="Frobnicate") as raised:
        engine.build(model, "fp32", EngineConfig.make("tensorrt", 1), tmp_path / "model.engine")
    assert raised.value.stage == "build"
    assert not (tmp_path / "model.engine").exists()


def test_samples_beyond_the_gpus_memory_are_one_clear_line(
    engine: TensorRtEngine, tmp_path: Path
) -> None:
    from autosinian.engine.cuda import DeviceBuffer

    path = written(residual_model(), tmp_path / "model.onnx")
    session = opened(engine, path, "fp32", 2, samples="device")
    with pytest.raises(TrialFailure, match=r"GPU out of memory: .* MiB are free"):
        DeviceBuffer(1 << 46)
    session.infer(np.zeros((1, 3, 24, 24), np.float32))
    session.close()


def test_a_second_build_finds_what_the_first_one_timed(
    engine: TensorRtEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(residual_model(), tmp_path / "model.onnx")
    config = EngineConfig.make("tensorrt", 4, optimization_level=1)
    engine.build(path, "fp32", config, tmp_path / "one.engine")
    caches = list(tmp_path.glob("timing-*.cache"))
    if not installed().has_timing_cache:
        assert caches == []
        return
    (cache,) = caches
    before = cache.read_bytes()
    engine.build(path, "fp32", config, tmp_path / "two.engine")
    assert cache.stat().st_size >= len(before)
    cache.write_bytes(before[:-5])
    engine.build(path, "fp32", config, tmp_path / "three.engine")
    assert "it is damaged" in capsys.readouterr().err


def test_many_samples_can_be_placed_again_and_again(engine: TensorRtEngine, tmp_path: Path) -> None:
    path = written(residual_model(), tmp_path / "model.onnx")
    opened(engine, path, "fp16", 16).close()
    for where in ("host", "device"):
        config = EngineConfig.make("tensorrt", 16, optimization_level=0, samples=where)
        session = engine.open(path.with_suffix(".engine"), config)
        for count in (300, 3, 3000):
            samples = np.zeros((count, 3, 24, 24), np.float32)
            samples[-1] = 1
            session.place(samples)
            given = session.infer_rows(np.array([0, count - 1]))
            np.testing.assert_array_equal(given, session.infer(samples[[0, -1]]))
            assert (given[0] != given[1]).any()
        session.close()
