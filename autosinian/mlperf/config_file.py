"""`configs/<benchmark>/<Scenario>/config.json`: settings for each system, in NVIDIA's schema.

Beside `benchmark`, `scenario` and `default`, which holds for every system, the file has one object
for each system by its id, as `A100-SXM4-40GBx1`. An entry inherits (`common/config` of NVIDIA's
v1.0 code): first `default`; then the systems in its list `extends`, in their order; then those in
`scales`, `{system: {key: factor}}`, whose named keys are multiplied by the factor, also within
`config_ver`; last its own keys. `config_ver` is `{name: overrides}`; version `default` has none.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.errors import InputError
from autosinian.measure.measurement import SCENARIOS
from autosinian.mlperf.config_keys import KEYS, check_entry

FILE = "config.json"
DEFAULT = "default"
_TOP = ("benchmark", "scenario", DEFAULT)


@dataclass(frozen=True)
class ConfigFile:
    """A file that was read and checked. `systems` are the entries as they stand in it."""

    path: Path
    benchmark: str
    scenario: str
    default: dict[str, Any]
    systems: dict[str, dict[str, Any]]

    def versions(self, system: str) -> tuple[str, ...]:
        """`default` and what `config_ver` of a system names."""
        return (DEFAULT, *self._inherited(system, ()).get("config_ver", {}))

    def resolve(self, system: str, version: str = DEFAULT) -> dict[str, Any]:
        """A system's settings in one version, everything inherited.

        Raises `InputError` for a system or a version that is not there.
        """
        if system not in self.systems:
            known = ", ".join(self.systems) or "none"
            raise InputError(
                f"`{self.path}` must have an entry for system `{system}`, but has {known}"
            )
        entry = deepcopy(self.default) | self._inherited(system, ())
        versions = entry.pop("config_ver", {})
        if version != DEFAULT:
            if version not in versions:
                known = ", ".join((DEFAULT, *versions))
                raise InputError(
                    f"`{self.path}`: config_ver of `{system}` must be one of {known}, got "
                    f"`{version}`"
                )
            entry |= deepcopy(versions[version])
        check_entry(entry, f"`{self.path}`: `{system}` with what it inherits")
        return entry

    def _inherited(self, system: str, below: tuple[str, ...]) -> dict[str, Any]:
        own = deepcopy(self.systems[system])
        extends, scales = own.pop("extends", []), own.pop("scales", {})
        result: dict[str, Any] = {}
        for parent in extends:
            _merge(result, self._parent(parent, system, below))
        for parent, factors in scales.items():
            entry = self._parent(parent, system, below)
            for key, factor in factors.items():
                if not _scalable(entry.get(key)):
                    raise InputError(
                        f"`{self.path}`: `{system}` scales `{key}` of `{parent}`, which must be a "
                        "number there"
                    )
                for table in (entry, *entry.get("config_ver", {}).values()):
                    if key in table:
                        table[key] = _scaled(table[key], factor)
            _merge(result, entry)
        return _merge(result, own)

    def _parent(self, parent: str, system: str, below: tuple[str, ...]) -> dict[str, Any]:
        chain = (*below, system)
        if parent in chain:
            raise InputError(
                f"`{self.path}`: systems must not inherit in a circle, but "
                f"{' -> '.join((*chain, parent))}"
            )
        if parent not in self.systems:
            raise InputError(
                f"`{self.path}`: `{system}` inherits from `{parent}`, which must be in the file"
            )
        return self._inherited(parent, chain)


def config_path(root: Path, benchmark: str, scenario: str) -> Path:
    """Where the file of a benchmark and scenario lies."""
    return root / benchmark / scenario / FILE


def read_config(path: Path) -> ConfigFile:
    """Read and check a file. Raises `InputError` with its place for anything that is not right."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` must be a config.json that can be read: {error}") from error

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"`{path}`: `{name}` must be there once, but is there twice")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except ValueError as error:
        raise InputError(f"`{path}` must be JSON, but: {error}") from error
    return checked(value, path)


def checked(value: Any, path: Path) -> ConfigFile:
    """The content of a file, checked."""
    if not isinstance(value, dict):
        raise InputError(f"`{path}` must be an object of systems, but is a {type(value).__name__}")
    for name in ("benchmark", "scenario"):
        if not isinstance(value.get(name), str):
            raise InputError(f"`{path}` must have the text `{name}`, but has {value.get(name)!r}")
    if value["scenario"] not in SCENARIOS:
        raise InputError(
            f"`{path}`: `scenario` must be one of {', '.join(SCENARIOS)}, got {value['scenario']!r}"
        )
    entries = {
        name: entry for name, entry in value.items() if name not in ("benchmark", "scenario")
    }
    for name, entry in entries.items():
        where = f"`{path}`: `{name}`"
        if not isinstance(entry, dict):
            kind = "a key of a system, which stands in its object" if name in KEYS else "unknown"
            raise InputError(f"{where} must be the object of a system, but is {kind}")
        check_entry(entry, where)
        for version, overrides in entry.get("config_ver", {}).items():
            if not isinstance(overrides, dict):
                raise InputError(f"{where}: config_ver `{version}` must be an object")
            check_entry(overrides, f"{where}, config_ver `{version}`")
        _check_inheritance(entry, where)
    default = entries.pop(DEFAULT, {})
    file = ConfigFile(path, value["benchmark"], value["scenario"], default, entries)
    for system in entries:
        file.versions(system)
    return file


def _check_inheritance(entry: Mapping[str, Any], where: str) -> None:
    extends, scales = entry.get("extends", []), entry.get("scales", {})
    if not all(isinstance(parent, str) for parent in extends):
        raise InputError(f"{where}: `extends` must be a list of systems, but got {extends!r}")
    for parent, factors in scales.items():
        right = isinstance(factors, dict) and all(_scalable(f) for f in factors.values())
        if not right:
            raise InputError(
                f"{where}: `scales` must be {{system: {{key: factor}}}}, but `{parent}` has "
                f"{factors!r}"
            )
        if parent in extends:
            raise InputError(f"{where} must not both extend and scale `{parent}`")


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Put `source` over `target`, objects key by key."""
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value
    return target


def _scalable(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scaled(value: float, factor: float) -> int | float:
    product = value * factor
    # Counts stay counts.
    return round(product) if isinstance(value, int) and float(product).is_integer() else product
