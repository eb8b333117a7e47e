"""Where a fixed network comes from: an ONNX file, or a torch module named by Python's own means."""

import contextlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from autosinian.errors import InputError

if TYPE_CHECKING:
    import torch

_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_IMPORTABLE = re.compile(rf"(?P<module>{_NAME}):(?P<attribute>{_NAME})")
_IN_FILE = re.compile(rf"(?P<file>.+\.py):(?P<attribute>{_NAME})")


@dataclass(frozen=True)
class ModuleSource:
    """`attribute` of an importable module, or of a Python file (`is_file`)."""

    module: str
    attribute: str
    is_file: bool


def module_source(source: str) -> ModuleSource | None:
    """`package.module:name` or `file.py:name`, taken apart; None for anything else."""
    match = _IN_FILE.fullmatch(source)
    if match:
        return ModuleSource(match["file"], match["attribute"], True)
    match = _IMPORTABLE.fullmatch(source)
    return ModuleSource(match["module"], match["attribute"], False) if match else None


def local_source(source: str, absolute: Callable[[str], str]) -> str:
    """`source` with the path in it, where there is one, put through `absolute`."""
    found = module_source(source)
    if found is None:
        return absolute(source)
    return f"{absolute(found.module)}:{found.attribute}" if found.is_file else source


def load_module(source: ModuleSource) -> "torch.nn.Module":
    """The torch module that `source` names, in eval mode.

    What is called to make it runs with torch's generator seeded with 0, so that weights that
    start at random are the same every time. Raises `InputError` where there is none.
    """
    with contextlib.redirect_stdout(sys.stderr):  # results alone go to stdout
        return _load(source)


def _load(source: ModuleSource) -> "torch.nn.Module":
    import torch

    name = f"{source.module}:{source.attribute}"
    try:
        found = attrgetter(source.attribute)(_import(source))
    except AttributeError as error:
        raise InputError(f"network `{name}` must exist, but {error}") from error
    if not isinstance(found, torch.nn.Module):
        if not callable(found):
            raise InputError(
                f"network `{name}` must be a torch module or a function that makes one, but it is "
                f"a {type(found).__name__}"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                found = found()
            except Exception as error:  # the user's own code may raise anything
                raise InputError(
                    f"network `{name}` must be made without arguments, but {_told(error)}"
                ) from error
    if not isinstance(found, torch.nn.Module):
        raise InputError(
            f"network `{name}` must make a torch module, but it gave a {type(found).__name__}"
        )
    return found.eval()


def _import(source: ModuleSource) -> ModuleType:
    if not source.is_file:
        try:
            return importlib.import_module(source.module)
        except Exception as error:  # the user's own code may raise anything
            raise InputError(
                f"network module `{source.module}` must be importable, but {_told(error)}; install "
                "it, or name a file as `file.py:name`"
            ) from error
    path = Path(source.module)
    if not path.is_file():
        raise InputError(f"the network's file must exist, but there is no file `{path}`")
    spec = importlib.util.spec_from_file_location(f"autosinian_network_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles of the file look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"`{path}` must be importable, but {_told(error)}") from error
    return module


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
