import os
import sys
import sysconfig
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.engine.described import DescribedEngine, describe_engine
from autosinian.engine.gpu import Gpu, visible_gpus
from autosinian.engine.openvino import OpenVinoEngine
from autosinian.errors import InputError
from autosinian.measure.measurement import BuildJob
from autosinian.measure.process import run
from autosinian.measure.workers import DEFAULT_CHOICE, WorkerChoice, check_alike, open_engine
from tests.engine.small_models import write_conv_model
from tests.measure.conftest import LIMITS, ROOT, SAMPLES, Bench

NO_GPU = pytest.mark.skipif(bool(visible_gpus()), reason="tells what is told without a GPU")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has no package at all."""
    folder = tmp_path_factory.mktemp("interpreter")
    venv.create(folder, with_pip=False, symlinks=True)
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def other(bare: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with everything a worker needs, and an engine that only it knows."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "only_there.py").write_text(
        "from autosinian.engine.openvino import OpenVinoEngine\n"
        "class Engine(OpenVinoEngine):\n"
        "    name = 'only_there:Engine'\n"
    )
    paths = os.pathsep.join([str(folder), str(ROOT), sysconfig.get_path("purelib")])
    return f"env 'PYTHONPATH={paths}' {bare}"


def test_an_engine_says_the_same_of_itself_in_another_interpreter(other: str) -> None:
    here = OpenVinoEngine()
    there, workers = WorkerChoice.parse(other, None).open("openvino")
    assert isinstance(there, DescribedEngine)
    assert describe_engine(there) == describe_engine(here)
    assert there.tunables() == here.tunables()
    assert workers.devices == ()
    with pytest.raises(RuntimeError, match="only described here"):
        there.build(Path("a"), "fp32", None, Path("b"))  # type: ignore[arg-type]


def test_an_engine_that_this_interpreter_lacks_is_described_built_and_run(
    other: str, bench: Bench, tmp_path: Path
) -> None:
    name = "only_there:Engine"
    with pytest.raises(InputError, match="cannot be imported"):
        DEFAULT_CHOICE.open(name)
    engine, workers = WorkerChoice.parse(other, None).open(name)
    assert engine.name == name
    built = tmp_path / "model.engine"
    config = bench.engine | {"engine": name}
    model = bench.folder / "model.onnx"
    job = BuildJob(config, str(model), "fp32", str(built), str(tmp_path / "build"))
    workers.build(job, **LIMITS)
    run_job = bench.job(
        "Offline", "AccuracyOnly", tmp_path / "run", engine=config, engine_file=str(built)
    )
    measured = workers.run(run_job, **LIMITS)
    assert measured.accuracy == 1.0
    assert measured.samples == SAMPLES
    assert measured.versions["python"]


def test_without_a_choice_the_engine_is_this_interpreters_own() -> None:
    engine, workers = DEFAULT_CHOICE.open("openvino")
    assert isinstance(engine, OpenVinoEngine)
    assert (workers.python, workers.devices) == ((), ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/no/such/python", "`/no/such/python` does not exist"),
        ("{file}", "is not executable"),
        ("{folder}", "is a folder"),
        ("no_such_python_at_all", "`no_such_python_at_all` does not exist"),
        ("'unfinished", "as a shell reads it"),
        ("", "got nothing"),
    ],
)
def test_an_interpreter_that_cannot_be_started_is_bad_input(
    text: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    given = text.format(file=tmp_path / "file", folder=tmp_path)
    with pytest.raises(InputError, match="`--worker-python` must") as raised:
        WorkerChoice.parse(given, None).open("openvino")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_interpreter_without_the_package_is_told_what_to_set(bare: str) -> None:
    with pytest.raises(InputError, match=r"import autosinian.*install the package.*PYTHONPATH"):
        open_engine("openvino", [bare, "-I"])


def test_an_interpreter_without_numpy_or_with_another_program_is_told(bare: str) -> None:
    with pytest.raises(InputError, match="No module named 'numpy'"):
        open_engine("openvino", [bare])
    with pytest.raises(InputError, match="must start in a worker of `true`"):
        open_engine("openvino", ["true"])


def test_an_unknown_engine_is_told_from_the_other_interpreter_too(other: str) -> None:
    with pytest.raises(InputError, match="did you mean 'openvino'"):
        WorkerChoice.parse(other, None).open("openvno")


@pytest.mark.parametrize("text", ["", "a", "0,", "-1", "0 1", "0,,1", "1.0", "²"])
def test_device_indices_that_cannot_be_read_are_bad_input(text: str) -> None:
    with pytest.raises(InputError, match="`--devices` must be GPU indices such as 0 or 0,1"):
        WorkerChoice.parse(None, text)


def test_device_indices_are_read() -> None:
    assert WorkerChoice.parse(None, " 2, 0 ").devices == (2, 0)
    assert WorkerChoice.parse(None, None).devices is None


def test_gpus_of_different_models_do_not_serve_together() -> None:
    a100 = Gpu(0, "GPU-0", "NVIDIA A100", (8, 0), 1, "580", "13.0")
    h100 = replace(a100, index=1, uuid="GPU-1", name="NVIDIA H100", compute_capability=(9, 0))
    check_alike([])
    check_alike([a100, replace(a100, index=1, uuid="GPU-1")])
    with pytest.raises(InputError, match=r"of one model, but got 0 \(NVIDIA A100\), 1 \(NVIDIA H"):
        check_alike([a100, h100])


@NO_GPU
def test_a_device_is_refused_where_there_is_none() -> None:
    with pytest.raises(InputError, match="an NVIDIA GPU must be there"):
        WorkerChoice.parse(None, "0").open("openvino")


@NO_GPU
def test_an_engine_that_needs_a_gpu_is_refused_where_there_is_none() -> None:
    with pytest.raises(InputError, match="an NVIDIA GPU must be there"):
        DEFAULT_CHOICE.open("tests.measure.worker_engines:GpuEngine")


@NO_GPU
def test_an_engine_may_use_a_gpu_that_nvml_does_not_list() -> None:
    engine, workers = DEFAULT_CHOICE.open("tests.measure.worker_engines:OtherGpuEngine")
    assert engine.device() == "a GPU of another maker"
    assert workers.devices == ()
    with pytest.raises(InputError, match="2 GPUs must be visible, as many as served the export"):
        DEFAULT_CHOICE.open("tests.measure.worker_engines:OtherGpuEngine", count=2)


def test_a_worker_needs_little_more_than_numpy_and_loadgen(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "bare_worker.py"
    script.write_text(
        "import sys\n"
        "class Absent:\n"
        "    names = {'pydantic', 'sqlalchemy', 'optuna', 'torch', 'onnxruntime', 'onnx', 'ofa',\n"
        "             'psutil', 'yaml', 'rich', 'pynvml', 'PIL', 'plotly', 'torchvision'}\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in self.names:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from autosinian.measure import worker\n"
        "worker.main(sys.argv[3:])\n"
    )
    python = [sys.executable, str(script)]
    measured = run(bench.job("Server", "AccuracyOnly", tmp_path / "run"), **LIMITS, python=python)
    assert measured.accuracy == 1.0
    assert open_engine("openvino", python).name == "openvino"
    model = write_conv_model(tmp_path / "model.onnx")
    job = BuildJob(bench.engine, str(model), "fp32", str(tmp_path / "e"), str(tmp_path / "build"))
    workers = WorkerChoice(tuple(python)).open("openvino")[1]
    assert workers.build(job, **LIMITS).build_s > 0
