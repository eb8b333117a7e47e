"""Engine files for a configuration: the bundle's own, one built before, or a new one."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autosinian.content import content_key, file_sha256
from autosinian.engine.engine_file import read_header
from autosinian.engine.protocol import Engine
from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.evaluate.quiet import working
from autosinian.export import bundle as files
from autosinian.measure.measurement import BuildJob
from autosinian.measure.workers import Workers
from autosinian.mlperf.source import Source, engine_file_name
from autosinian.space.candidate import EngineConfig, Option

Tell = Callable[[str], None]


@dataclass(frozen=True)
class BuildLimits:
    """What a build may take."""

    time_s: float
    memory_bytes: int


@dataclass(frozen=True)
class Built:
    """An engine file; `state` is `bundle` (its own), `known` (built before) or `built`."""

    path: Path
    state: str


def complete_config(engine: Engine, batch_size: int, options: dict[str, Option]) -> EngineConfig:
    """The configuration with every tunable of the engine, defaults filled in.

    Raises `InputError` for a batch size below 1, an unknown option and a value out of range.
    """
    if batch_size < 1:
        raise InputError(f"`--batch-size` must be at least 1, but got {batch_size}")
    tunables = {tunable.name: tunable for tunable in engine.tunables()}
    for name, value in options.items():
        if name not in tunables:
            known = ", ".join(tunables) or "none"
            raise InputError(f"an option of engine {engine.name} is one of {known}; got `{name}`")
        tunables[name].check(value)
    values = {name: tunable.default for name, tunable in tunables.items()}
    return EngineConfig.make(engine.name, batch_size, **(values | options))


def engine_file(
    source: Source,
    model: Path,
    precision: str,
    config: EngineConfig,
    engine: Engine,
    workers: Workers,
    folder: Path,
    limits: BuildLimits,
    *,
    force: bool = False,
    tell: Tell = lambda text: None,
) -> Built:
    """The engine file for `model` in `config`, below `folder` unless the bundle has it.

    One of the same key (model, precision, batch size, what needs another file, versions) is used
    as it is, unless `force` builds it again. Raises `InputError` for a precision that the engine
    does not run, `AutosinianError` where it cannot be built.
    """
    if precision not in engine.precisions():
        raise InputError(
            f"engine {engine.name} runs {', '.join(engine.precisions())} on {engine.device()}, "
            f"but the precision is {precision}"
        )
    built = _without_free(engine, config)
    versions = dict(engine.versions())
    model_sha256 = file_sha256(model)
    if not force and _is_own(source, model_sha256, precision, built, engine):
        return Built(source.folder / files.ENGINE, "bundle")
    key = content_key(
        model_sha256, precision, engine.name, built.batch_size, dict(built.options), versions
    )
    prefix = engine_file_name(built.batch_size, source.resolution, engine.device(), precision)
    path = (folder / f"{prefix}{key[:16]}.engine").absolute()
    if path.exists() and not force:
        return Built(path, "known")
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"building the engine `{path.name}`")
    job = BuildJob(
        engine={"engine": engine.name, "batch_size": built.batch_size}
        | {"options": dict(built.options)},
        model=str(model.absolute()),
        precision=precision,
        engine_file=str(path),
        log_folder=str(folder / f"build-{key[:16]}-{os.getpid()}"),
        devices=workers.devices[:1],
    )
    try:
        with working(workers.devices):
            workers.build(job, time_limit_s=limits.time_s, memory_limit_bytes=limits.memory_bytes)
    except TrialFailure as failure:
        raise AutosinianError(f"the engine must be built, but {failure.reason}") from failure
    return Built(path, "built")


def _without_free(engine: Engine, config: EngineConfig) -> EngineConfig:
    """`config` with what needs no other engine file at its default: such files are shared."""
    free = {t.name: t.default for t in engine.tunables() if not t.rebuild}
    options = {name: free.get(name, value) for name, value in config.options}
    return EngineConfig.make(config.engine, config.batch_size, **options)


def _is_own(
    source: Source, model_sha256: str, precision: str, built: EngineConfig, engine: Engine
) -> bool:
    """Whether the bundle's engine file is the one for this configuration on this machine."""
    if source.bundle is None:
        return False
    try:
        header = read_header(source.folder / files.ENGINE)
    except InputError:
        return False  # an engine with a form of its own: built again
    free = {tunable.name for tunable in engine.tunables() if not tunable.rebuild}
    kept = {name: value for name, value in header.options.items() if name not in free}
    return (
        header.model_sha256 == model_sha256
        and header.precision == precision
        and header.engine == built.engine
        and header.batch_size == built.batch_size
        and kept == {n: v for n, v in built.options if n not in free}
        and header.versions == dict(engine.versions())
    )
