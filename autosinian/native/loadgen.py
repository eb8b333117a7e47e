"""Where the compiled module lies, and loading it in place of LoadGen's own."""

import importlib
import importlib.util
import os
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from autosinian.content import content_key, file_sha256

SUT_SOURCE = Path(__file__).with_name("sut.cc")
_NAME = "mlperf_loadgen"


def cache_folder() -> Path:
    """Where compiled modules are kept: below `$XDG_CACHE_HOME`, or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autosinian" / "native"


def module_path() -> Path:
    """Where the module for this interpreter, LoadGen's version and `sut.cc` lies once compiled."""
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    key = content_key(suffix, version("mlcommons-loadgen"), file_sha256(SUT_SOURCE))
    return cache_folder() / key[:16] / f"{_NAME}{suffix}"


def find_module() -> Path | None:
    """The compiled module, None where there is none that fits."""
    try:
        path = module_path()
    except PackageNotFoundError:  # LoadGen itself is missing, which its import tells
        return None
    return path if path.is_file() else None


def load() -> ModuleType:
    """LoadGen's Python module: the compiled one where there is one, else the package's.

    It becomes `mlperf_loadgen` for everybody in this process.
    """
    if _NAME not in sys.modules and (path := find_module()) is not None:
        spec = importlib.util.spec_from_file_location(_NAME, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    return importlib.import_module(_NAME)
