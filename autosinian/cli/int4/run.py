"""`autosinian int4 run`: a model folder through LoadGen, with the published options."""

import argparse
import sys
from pathlib import Path

from autosinian.cli.loadgen_options import (
    TEST_MODES,
    add_loadgen_options,
    loadgen_settings,
    print_reports,
    told_fields,
)
from autosinian.cli.serving_options import SCENARIOS
from autosinian.cli.worker_options import add_worker_options, worker_choice

EPILOG = """\
TENSORS is a folder with an int8 file <name>.npy for each line of MAP (3 x H x W), or one array,
N x 3 x H x W, with a row a line; `autosinian int4 preprocess` makes the latter. A run is of
official length: ten minutes and what else LoadGen's mlperf.conf asks for, which
`--lgts_min_duration_ms` shortens. On a machine without a GPU the exact reference on the processor
serves. Published autoconfig files name another engine's kernels; `autosinian int4 tune` makes one
for the GPU at hand.

examples:
  autosinian int4 run model -b 256 -p tensors -m val_map.txt
  autosinian int4 run model -b 1024 -a autoconfig -p arrays -m val_map.txt --test-mode AccuracyOnly
  autosinian int4 run model -b 64 -p inputs.npy -m val_map.txt --lgts_min_duration_ms 10000

exit codes: 0 LoadGen says VALID (or accuracy was counted), 1 INVALID or failed, 2 bad input

"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="run a model folder through LoadGen",
        description="Run a network of integers through LoadGen; print performance and accuracy.",
        epilog=EPILOG + told_fields(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        default=Path("model"),
        metavar="MODEL_DIR",
        help="the network's folder (default: model)",
    )
    parser.add_argument(
        *("-b", "--batch-size", "--batch_size", "--batchSize"),
        dest="batch_size",
        type=int,
        default=64,
        metavar="N",
        help="images a batch (default: 64)",
    )
    parser.add_argument(
        *("-a", "--autotuningFile", "--autoconfig"),
        dest="autoconfig",
        type=Path,
        metavar="FILE",
        help="kernel configurations by layer (default: what lies beside the model, or defaults)",
    )
    parser.add_argument(
        *("-p", "--tensorPath"),
        dest="tensors",
        type=Path,
        required=True,
        metavar="TENSORS",
        help="the preprocessed images",
    )
    parser.add_argument(
        *("-m", "--mapPath"),
        dest="map",
        type=Path,
        required=True,
        metavar="MAP",
        help="name and label of each image",
    )
    parser.add_argument("--scenario", choices=SCENARIOS, default="Offline", help="default: Offline")
    parser.add_argument(
        "--test-mode", choices=TEST_MODES, default=TEST_MODES[0], help="default: SubmissionRun"
    )
    for name in ("mlperf", "user"):
        parser.add_argument(
            *(f"--{name}_conf_path", f"--{name}-conf-path"),
            dest=f"{name}_conf",
            type=Path,
            metavar="FILE",
            help=f"LoadGen's {name}.conf",
        )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the engine's own settings, as streams=2; may be given several times",
    )
    parser.add_argument(
        "--build-dir",
        type=Path,
        default=Path("build"),
        metavar="DIR",
        help="for the engine, gathered tensors and logs (default: build)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=4 * 3600.0,
        metavar="S",
        help="seconds after which a worker is ended (default: 14400)",
    )
    add_worker_options(parser)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_loadgen_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run; the figures go to stdout, the exit code is 1 where LoadGen says INVALID."""
    settings, log_settings = loadgen_settings(arguments)

    from autosinian.cli.serving_options import read_option
    from autosinian.errors import InputError
    from autosinian.int4.harness import open_source
    from autosinian.mlperf.harness import RunRequest
    from autosinian.mlperf.harness import run as run_source
    from autosinian.mlperf.request import Request

    if arguments.batch_size < 1:
        raise InputError(f"`-b` must be at least 1, but got {arguments.batch_size}")
    request = RunRequest(
        serve=Request(
            scenario=arguments.scenario,
            options=dict(map(read_option, arguments.option)),
            build=arguments.build_dir,
            choice=worker_choice(arguments),
        ),
        mode=arguments.test_mode,
        settings=settings,
        log_settings=log_settings,
        mlperf_conf=arguments.mlperf_conf,
        user_conf=arguments.user_conf,
        time_limit_s=arguments.time_limit,
    )
    source = open_source(
        arguments.model,
        arguments.autoconfig,
        arguments.tensors,
        arguments.map,
        arguments.batch_size,
        arguments.build_dir,
    )
    reports = run_source(source, request, lambda text: print(text, file=sys.stderr))
    return print_reports(reports, as_json=arguments.json)
