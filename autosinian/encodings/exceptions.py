"""Modules that are not quantized as the configuration says, by name."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from autosinian.errors import InputError


@dataclass(frozen=True)
class Exceptions:
    """Layers with asymmetric weights, modules with an asymmetric output, and modules whose weights
    and output stay in higher precision; each by its qualified name."""

    asymmetric_weights: tuple[str, ...] = ()
    asymmetric_activations: tuple[str, ...] = ()
    higher_precision: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, list[str]]:
        """The form of the file."""
        return {item.name: list(getattr(self, item.name)) for item in fields(self)}


@dataclass(frozen=True)
class Names:
    """What a list may name: layers with weights, and modules whose output has an encoding."""

    layers: frozenset[str]
    activations: frozenset[str]
    modules: frozenset[str] = field(default=frozenset())


def read_exceptions(path: Path) -> Exceptions:
    """Read a JSON object of the three lists; each may be left out.

    Raises `InputError` for another key, or a list that holds anything but names.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} must be an exception list that can be read: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be a JSON file, but: {error}") from error
    known = [item.name for item in fields(Exceptions)]
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold an object with {', '.join(known)}")
    lists = {}
    for key, names in content.items():
        if key not in known:
            raise InputError(f"{path}: `{key}` must be one of {', '.join(known)}")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: `{key}` must be a list of module names, but is {names!r}")
        lists[key] = tuple(names)
    return Exceptions(**lists)


def check_exceptions(exceptions: Exceptions, names: Names) -> None:
    """Raise `InputError` for a name that the network does not have, or that changes nothing."""
    _check("asymmetric_weights", exceptions.asymmetric_weights, names.layers, names)
    _check("asymmetric_activations", exceptions.asymmetric_activations, names.activations, names)
    either = names.layers | names.activations
    _check("higher_precision", exceptions.higher_precision, either, names)


def _check(key: str, given: Iterable[str], fitting: frozenset[str], names: Names) -> None:
    for name in given:
        if name in fitting:
            continue
        if name in names.modules:
            kind = "weights" if key == "asymmetric_weights" else "encoding of its output"
            raise InputError(
                f"`{key}` must name modules that it changes, but `{name}` has no {kind}: a module"
                " that runs as one with the next has its output there"
            )
        close = difflib.get_close_matches(name, fitting, n=1)
        hint = f", did you mean `{close[0]}`?" if close else ""
        raise InputError(
            f"`{key}` must name modules of the network, but there is no `{name}`{hint}"
        )
