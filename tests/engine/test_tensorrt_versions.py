import subprocess
import sys

import pytest

from autosinian.engine.options import complete_options
from autosinian.engine.tensorrt import TensorRtEngine
from autosinian.engine.tensorrt_versions import Library
from autosinian.errors import InputError
from autosinian.space.candidate import EngineConfig

KNOWN = {
    "8.6": Library("tensorrt", "tensorrt", "8.6.1"),
    "10": Library("tensorrt", "tensorrt", "10.16.1.11"),
    "11": Library("tensorrt", "tensorrt", "11.4.0.106"),
    "rtx": Library("tensorrt_rtx", "tensorrt_rtx", "1.7.1.116"),
}


def test_types_are_the_files_where_no_builder_flag_sets_them() -> None:
    assert {name for name, known in KNOWN.items() if known.strongly_typed} == {"11", "rtx"}


def test_implicit_int8_is_tensorrt_8s_alone() -> None:
    assert {name for name, known in KNOWN.items() if known.implicit_int8} == {"8.6"}


def test_rtx_times_nothing() -> None:
    assert {name for name, known in KNOWN.items() if not known.has_timing_cache} == {"rtx"}


def test_titles_say_which_library_it_is() -> None:
    assert KNOWN["8.6"].title == "TensorRT 8.6.1"
    assert KNOWN["rtx"].title == "TensorRT-RTX 1.7.1.116"


def test_the_installed_version_is_known_without_importing_it() -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra `tensorrt-rtx`")
    code = (
        "import sys; from autosinian.engine.tensorrt_versions import installed\n"
        "assert installed().version[0].isdigit()\n"
        "sys.exit(any(name.startswith('tensorrt') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_tensorrt_it_says_what_to_install() -> None:
    code = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n: None if n.startswith('tensorrt') else find(n)\n"
        "from autosinian.engine.tensorrt import TensorRtEngine\n"
        "from autosinian.errors import InputError\n"
        "try:\n    TensorRtEngine().slow_imports()\n"
        "except InputError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install autosinian[tensorrt]" in done.stdout
    assert done.stdout.count("\n") == 1


def test_neither_torch_nor_tensorrt_is_imported_to_ask_what_can_be_tuned() -> None:
    code = (
        "import sys; from autosinian.engine.tensorrt import TensorRtEngine\n"
        "TensorRtEngine().tunables()\n"
        "sys.exit(any(name.split('.')[0] in ('torch', 'tensorrt', 'cuda') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_default_is_allowed_and_streams_samples_and_graphs_need_no_rebuild() -> None:
    tunables = {tunable.name: tunable for tunable in TensorRtEngine().tunables()}
    for tunable in tunables.values():
        tunable.check(tunable.default)
    free = {name for name, tunable in tunables.items() if not tunable.rebuild}
    assert free == {"streams", "copy_streams", "samples", "graphs"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("streams", 0), ("streams", 9), ("copy_streams", 5), ("samples", "disk"), ("nothing", 1)],
)
def test_options_out_of_range_are_bad_input(name: str, value: int | str) -> None:
    with pytest.raises(InputError, match=name):
        complete_options(TensorRtEngine(), EngineConfig.make("tensorrt", 1, **{name: value}))
