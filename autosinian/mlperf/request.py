"""What a run or a build is asked for, and what comes of it together with source and config file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from autosinian.engine.processor import usable_cores
from autosinian.engine.protocol import Engine
from autosinian.errors import InputError
from autosinian.export.system_config import system_id
from autosinian.measure.measurement import SCENARIOS
from autosinian.measure.workers import DEFAULT_CHOICE, WorkerChoice, Workers
from autosinian.mlperf.config_file import DEFAULT, ConfigFile, config_path, read_config
from autosinian.mlperf.config_keys import Applied, apply_entry
from autosinian.mlperf.engines import complete_config
from autosinian.mlperf.source import Source
from autosinian.space.candidate import EngineConfig, Option

Tell = Callable[[str], None]

CONFIGS = Path("configs")
BUILD = Path("build")


@dataclass(frozen=True)
class Request:
    """How a source shall be served; None and empty: as config file or source say.

    `configs` is the folder of config files (None: `configs`, where it has one). `build` is where
    engines, arrays and logs go.
    """

    scenario: str
    system: str | None = None
    config_versions: tuple[str, ...] = (DEFAULT,)
    configs: Path | None = None
    batch_size: int | None = None
    threads: int | None = None
    options: dict[str, Option] = field(default_factory=dict)
    calibrator_cache: Path | None = None
    data: Path | None = None
    val_map: Path | None = None
    build: Path = BUILD
    choice: WorkerChoice = DEFAULT_CHOICE
    force_build: bool = False


@dataclass(frozen=True)
class Serving:
    """One config version, settled. `system` is its id, `engine` opened, `config` complete."""

    scenario: str
    version: str
    system: str
    engine: Engine
    workers: Workers
    config: EngineConfig
    precision: str
    val_map: Path | None
    settings: dict[str, int | float | bool]
    sut: dict[str, int | float | bool]

    @property
    def name(self) -> str:
        """The system, with the version where it is not the default."""
        return self.system if self.version == DEFAULT else f"{self.system}_{self.version}"


def settle(source: Source, request: Request, tell: Tell) -> list[Serving]:
    """How to serve `source` in each of the config versions asked for.

    `tell` hears which file was read and which of its keys do nothing. Raises `InputError` for a
    version or a system that is not there, and for settings that the engine does not have.
    """
    if request.scenario not in SCENARIOS:
        raise InputError(
            f"`--scenario` must be one of {', '.join(SCENARIOS)}, but got `{request.scenario}`"
        )
    engine, workers = request.choice.open(source.engine.engine, count=source.devices)
    system = request.system or recognise(engine, workers)
    file = _config_file(source, request, system, tell)
    if file is None:
        for version in request.config_versions:
            if version != DEFAULT:
                raise InputError(
                    f"config_ver `{version}` must be in a config.json for system `{system}`, but "
                    "there is none; name its folder with `--configs`"
                )
        applied = Applied()
        return [_serving(source, request, system, DEFAULT, engine, workers, applied, tell)]
    known = file.versions(system)
    wanted = [version for version in request.config_versions if version in known]
    for version in request.config_versions:
        if version in known:
            continue
        if not wanted:
            file.resolve(system, version)  # raises
        tell(f"note: `{system}` has no config_ver `{version}` in `{file.path}`; it is left out")
    result: list[Serving] = []
    told: set[str] = set()
    for version in wanted:
        entry = file.resolve(system, version)
        tell(f"settings of `{system}`, config_ver {version}, from `{file.path}`")
        named = entry.get("engine", engine.name)
        other = engine, workers
        if named != engine.name:
            other = request.choice.open(named, count=source.devices)
        applied = apply_entry(entry, request.scenario, other[0].tunables(), named)
        for line in (line for line in applied.idle if line not in told):
            tell(f"note: {line}")
        told.update(applied.idle)
        result.append(_serving(source, request, system, version, *other, applied, tell))
    return result


def recognise(engine: Engine, workers: Workers) -> str:
    """The id of this system: the engine's device and how many GPUs, or cores of a processor."""
    return system_id(engine.device(), len(workers.devices) or usable_cores())


def _config_file(source: Source, request: Request, system: str, tell: Tell) -> ConfigFile | None:
    """The config file that has this system; None where the source's own settings hold."""
    path = config_path(request.configs or CONFIGS, source.benchmark, request.scenario)
    if not path.exists() and request.configs is None:
        if request.system is not None:
            raise InputError(
                f"`--system` names an entry of `{path}`, but there is no such file; name the "
                "folder of config files with `--configs`"
            )
        return None
    file = read_config(path)
    for name, value, wanted in (
        ("benchmark", file.benchmark, source.benchmark),
        ("scenario", file.scenario, request.scenario),
    ):
        if value != wanted:
            raise InputError(f"`{path}`: `{name}` must be {wanted}, but is {value}")
    if system not in file.systems:
        if request.system is not None:
            file.resolve(system)  # raises
        known = ", ".join(file.systems) or "none"
        tell(f"note: `{path}` has no entry for this system, `{system}` (it has {known})")
        return None
    found_for = file.resolve(system).get("candidate", "")
    if found_for and found_for != source.candidate_key:
        if request.system is not None:
            raise InputError(
                f"`{path}`: the settings of `{system}` must be for this network, but are for "
                f"candidate {found_for[:8]}; take its key `candidate` out to use them"
            )
        tell(f"note: `{path}` has the settings of another network for `{system}`; left aside")
        return None
    return file


def _serving(
    source: Source,
    request: Request,
    system: str,
    version: str,
    engine: Engine,
    workers: Workers,
    applied: Applied,
    tell: Tell,
) -> Serving:
    own = source.engine
    same_engine = own.engine == engine.name
    options: dict[str, Option] = dict(own.options) if same_engine else {}
    options |= applied.options | request.options
    if request.threads is not None:
        if "threads" not in {tunable.name for tunable in engine.tunables()}:
            raise InputError(f"`--threads` is not for engine {engine.name}, which has no threads")
        options["threads"] = request.threads
    batch = request.batch_size
    if batch is None:
        batch = applied.batch_size or own.batch_size
    precision = applied.precision or source.precision
    if request.calibrator_cache is not None:
        precision = "int8"
    serving = {} if request.scenario != "Server" else source.serving
    return Serving(
        scenario=request.scenario,
        version=version,
        system=system,
        engine=engine,
        workers=workers,
        config=complete_config(engine, batch, options),
        precision=precision,
        val_map=request.val_map or _map(source, applied, request, tell),
        settings=applied.settings,
        sut={**serving, **applied.sut},
    )


def _map(source: Source, applied: Applied, request: Request, tell: Tell) -> Path | None:
    if applied.map_path is None:
        return None
    if source.data["name"] not in ("imagenet", "folder"):
        tell(f"note: `map_path` does nothing: {source.data['name']} has no map")
        return None
    if not Path(applied.map_path).is_file():
        tell(f"note: `map_path` does nothing: there is no `{applied.map_path}` here")
        return None
    return Path(applied.map_path)
