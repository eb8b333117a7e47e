"""How a bundle is served: the options that `run` and `build` share."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from autosinian.cli.worker_options import add_worker_options, worker_choice
from autosinian.errors import InputError

if TYPE_CHECKING:
    from autosinian.mlperf.request import Request
    from autosinian.space.candidate import Option

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")


def add_serving_options(parser: argparse.ArgumentParser, *, scenario: str) -> None:
    """Add the bundle and everything that settles its engine file and samples."""
    parser.add_argument(
        "bundle",
        type=Path,
        metavar="BUNDLE",
        help="a folder made by export-best, or one with net.config and init as in MLPerf v0.7",
    )
    parser.add_argument(
        "--scenario", choices=SCENARIOS, default=scenario, help=f"default: {scenario}"
    )
    system = parser.add_argument_group("system")
    system.add_argument(
        "--configs",
        type=Path,
        metavar="DIR",
        help="DIR/<benchmark>/<Scenario>/config.json has the settings (default: configs, where it "
        "has one for this network and system; else the bundle's own)",
    )
    system.add_argument(
        "--system", metavar="ID", help="the system's id in config.json (default: recognised)"
    )
    system.add_argument(
        "--config-ver",
        default="default",
        metavar="V,W",
        help="versions in config.json to take one after another (default: default)",
    )
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--batch-size", type=int, metavar="N", help="another needs another engine file, made once"
    )
    engine.add_argument("--threads", type=int, metavar="N", help="of engines on the processor")
    engine.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the engine's own settings, as streams=2; may be given several times",
    )
    engine.add_argument(
        "--calibrator-cache",
        type=Path,
        metavar="FILE",
        help="ranges for int8 in place of the bundle's, as `autosinian calibrate` writes them",
    )
    engine.add_argument(
        "--force-build", action="store_true", help="build the engine also where it is there"
    )
    add_worker_options(engine)
    data = parser.add_argument_group("data and places")
    data.add_argument(
        "--data", type=Path, metavar="PATH", help="the images' folder or archive, where moved"
    )
    data.add_argument(
        "--val-map",
        type=Path,
        metavar="FILE",
        help="validate on every line of this map (default: the samples of the export)",
    )
    data.add_argument(
        "--build-dir",
        type=Path,
        default=Path("build"),
        metavar="DIR",
        help="for engines, preprocessed data and logs (default: build)",
    )


def serving_request(arguments: argparse.Namespace) -> "Request":
    """What was given. Raises `InputError` for what cannot be read."""
    from autosinian.mlperf.request import Request

    versions = tuple(word.strip() for word in arguments.config_ver.split(","))
    if not all(versions):
        raise InputError(
            f"`--config-ver` must be names with commas between, but got `{arguments.config_ver}`"
        )
    return Request(
        scenario=arguments.scenario,
        system=arguments.system,
        config_versions=tuple(dict.fromkeys(versions)),
        configs=arguments.configs,
        batch_size=arguments.batch_size,
        threads=arguments.threads,
        options=dict(map(read_option, arguments.option)),
        calibrator_cache=arguments.calibrator_cache,
        data=arguments.data,
        val_map=arguments.val_map,
        build=arguments.build_dir,
        choice=worker_choice(arguments),
        force_build=arguments.force_build,
    )


def read_option(text: str) -> "tuple[str, Option]":
    """`NAME=VALUE` with the value's type. Raises `InputError`."""
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise InputError(f"`--option` must be NAME=VALUE, but got `{text}`")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
