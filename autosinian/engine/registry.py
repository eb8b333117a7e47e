"""Engines by name: the entry points of the group `autosinian.engines`."""

import difflib
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from autosinian.engine.protocol import Engine
from autosinian.errors import InputError

GROUP = "autosinian.engines"

# This package's own, so that they are found also where it is on the path and not installed, as in
# an interpreter that only runs workers.
OWN = {
    "openvino": "autosinian.engine.openvino:OpenVinoEngine",
    "tensorrt": "autosinian.engine.tensorrt:TensorRtEngine",
    "torch": "autosinian.engine.torch_engine:TorchEngine",
    "int4": "autosinian.int4.engine:Int4Engine",
}


def _points() -> dict[str, EntryPoint]:
    own = {name: EntryPoint(name, value, GROUP) for name, value in OWN.items()}
    return own | {point.name: point for point in entry_points(group=GROUP)}


def engine_names() -> tuple[str, ...]:
    """Names of the installed engines, sorted; nothing is imported."""
    return tuple(sorted(_points()))


def get_engine(name: str) -> Engine:
    """The engine of that name.

    A name with a colon, `package.module:Class`, is imported as it stands, so that an engine can
    be tried before it is packaged. Raises `InputError` for an unknown name.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return cast("Engine", getattr(importlib.import_module(module), attribute)())
        except (ImportError, AttributeError) as error:
            raise InputError(f"engine {name!r} cannot be imported: {error}") from error
    points = _points()
    if name not in points:
        known = ", ".join(sorted(points))
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"engine must be one of: {known}; got {name!r}{hint}")
    try:
        return cast("Engine", points[name].load()())
    except ImportError as error:
        raise InputError(f"engine {name!r} is known but cannot be imported: {error}") from error
