"""Which GPUs a worker sees, and what a measurement says of the machine."""

import json
from pathlib import Path

import pytest

from autosinian.engine.gpu import all_gpus
from autosinian.measure.core_waits import WAITED
from autosinian.measure.measurement import BuildJob, Measurement
from autosinian.measure.process import build
from tests.engine.small_models import write_conv_model
from tests.measure.conftest import LIMITS, Bench

TELLING = {"engine": "tests.measure.worker_engines:TellingEngine"}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])  # workers import `tests.measure.worker_engines`
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


def measured_on(
    devices: tuple[int, ...], bench: Bench, folder: Path
) -> tuple[Measurement, dict[str, str | None]]:
    """A short run on some GPUs, and what its worker was told of them."""
    engine_file = folder / "model.engine"
    engine_file.write_bytes(bench.engine_file.read_bytes())
    measured = bench.run(
        "SingleStream",  # served by the worker itself, where several are given too
        "RawLoop",
        folder,
        engine=bench.engine | TELLING,
        engine_file=str(engine_file),
        devices=devices,
    )
    return measured, json.loads(engine_file.with_suffix(".told").read_text())


def test_a_worker_sees_its_own_gpus_alone_numbered_as_nvml_does(
    bench: Bench, tmp_path: Path
) -> None:
    measured, told = measured_on((1, 0), bench, tmp_path)
    assert told == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,0"}
    assert "gpus" in measured.machine


def test_a_worker_for_the_processor_keeps_the_environment(bench: Bench, tmp_path: Path) -> None:
    measured, told = measured_on((), bench, tmp_path)
    assert told == {"CUDA_DEVICE_ORDER": None, "CUDA_VISIBLE_DEVICES": "5"}
    assert "gpus" not in measured.machine


def test_a_build_sees_its_gpu_alone(bench: Bench, tmp_path: Path) -> None:
    model = write_conv_model(tmp_path / "model.onnx", int8=False)
    engine_file = tmp_path / "model.engine"
    build(
        BuildJob(
            bench.engine | TELLING,
            *(str(model), "fp32", str(engine_file), str(tmp_path / "log")),
            devices=(1,),
        ),
        **LIMITS,
    )
    told = json.loads(engine_file.with_suffix(".told").read_text())
    assert told == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}


def test_a_measurement_tells_the_processors_state_and_is_never_marked_for_it(
    bench: Bench, tmp_path: Path
) -> None:
    measured, _ = measured_on((), bench, tmp_path)
    told = set(measured.machine) - {WAITED}  # which not every kernel counts
    assert told == {"clock_mhz", "temperature_celsius", "load_average"}
    assert len(measured.machine["load_average"]) == 3
    assert measured.disturbance == ""
    assert Measurement.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured


@pytest.mark.skipif(bool(all_gpus()), reason="this machine has an NVIDIA GPU")
def test_a_gpu_that_cannot_be_asked_is_named_and_marks_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    measured, _ = measured_on((0,), bench, tmp_path)
    assert measured.machine["gpus"] == []
    assert "an NVIDIA GPU must be there" in measured.machine["gpus_unknown"]
    assert measured.disturbance == ""
