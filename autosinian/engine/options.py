"""An engine's configuration checked against the tunables that the engine declares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from autosinian.engine.engine_file import (
    EngineHeader,
    check_config,
    check_versions,
    read_engine_file,
)
from autosinian.engine.protocol import Tunable
from autosinian.errors import InputError
from autosinian.space.candidate import EngineConfig


class Declares(Protocol):
    """What is asked of an engine here."""

    @property
    def name(self) -> str: ...
    def tunables(self) -> tuple[Tunable, ...]: ...
    def versions(self) -> Mapping[str, str]: ...


def complete_options(engine: Declares, config: EngineConfig) -> dict[str, Any]:
    """Every option by name, defaults filled in.

    Raises `InputError` for another engine's configuration, a batch size below 1, and an option
    that is unknown or has a value that it may not take.
    """
    if config.engine != engine.name or config.batch_size < 1:
        raise InputError(
            f"a configuration of {engine.name} with batch_size >= 1 is needed, got "
            f"engine={config.engine!r}, batch_size={config.batch_size}"
        )
    tunables = {tunable.name: tunable for tunable in engine.tunables()}
    values: dict[str, Any] = {name: tunable.default for name, tunable in tunables.items()}
    for name, value in config.options:
        if name not in tunables:
            known = ", ".join(tunables)
            raise InputError(f"option of engine {engine.name} must be one of {known}, got {name!r}")
        tunables[name].check(value)
        values[name] = value
    return values


def read_for(
    engine: Declares, engine_file: Path, config: EngineConfig
) -> tuple[EngineHeader, dict[str, bytes], dict[str, Any]]:
    """Header, sections and complete options of an engine file that is to serve `config`.

    Raises `InputError` where it was built with other versions, or for a configuration that
    differs in more than what needs no rebuild.
    """
    header, sections = read_engine_file(engine_file)
    check_versions(engine_file, header, engine.versions())
    options = complete_options(engine, config)
    complete = EngineConfig.make(config.engine, config.batch_size, **options)
    free = {tunable.name for tunable in engine.tunables() if not tunable.rebuild}
    check_config(engine_file, header, complete, free)
    return header, sections, options
