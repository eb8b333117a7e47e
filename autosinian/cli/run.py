"""`autosinian run BUNDLE`: a bundle through LoadGen, as a submitter runs it."""

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
from autosinian.cli.serving_options import add_serving_options, serving_request

EPILOG = """\
Without `--fast` a run is of official length: ten minutes and what else LoadGen's mlperf.conf asks
for. Figures go to stdout in LoadGen's own digits, progress to stderr, LoadGen's logs to
build/logs/<time>/<system>/<benchmark>/<scenario>. SubmissionRun is accuracy and performance in
one go. FindPeakPerformance is for Server: the highest rate that holds, by bisection over
PerformanceOnly runs (LoadGen's own mode of that name knows no other scenario either).

examples:
  autosinian run studies/fashion_mnist/best --scenario Offline --fast
  autosinian run best --scenario SingleStream --test-mode PerformanceOnly
  autosinian run best --config-ver default,high_accuracy --system A100-SXM4-40GBx1
  autosinian run best --scenario Offline --batch-size 391 --lgts-min_duration_ms 10000
  autosinian run best --scenario Offline --data IMAGES --val-map IMAGES/val_map.txt
  autosinian run pretrained/best_model --data IMAGES --test-mode AccuracyOnly   (a v0.7 folder)

exit codes: 0 LoadGen says VALID (or accuracy was counted), 1 INVALID or failed, 2 bad input

"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="run a bundle through LoadGen at official length",
        description="Run a bundle through LoadGen and print performance and accuracy.",
        epilog=EPILOG + told_fields(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_serving_options(parser, scenario="Offline")
    parser.add_argument(
        "--test-mode", choices=TEST_MODES, default=TEST_MODES[0], help="default: SubmissionRun"
    )
    parser.add_argument(
        "--fast", action="store_true", help="60 s, and in Offline any number of samples"
    )
    parser.add_argument("--mlperf-conf-path", type=Path, metavar="FILE", help="an mlperf.conf")
    parser.add_argument(
        "--user-conf-path",
        type=Path,
        metavar="FILE",
        help="a user.conf; LoadGen settings of config.json are then left aside",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=4 * 3600.0,
        metavar="S",
        help="seconds after which a worker is ended (default: 14400)",
    )
    parser.add_argument(
        "--memory-limit",
        type=int,
        metavar="MIB",
        help="memory at which a worker is ended (default: as exported, at least 4096, and what the "
        "queries of the run take)",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_loadgen_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run; the figures go to stdout, the exit code is 1 where LoadGen says INVALID."""
    settings, log_settings = loadgen_settings(arguments)

    from autosinian.mlperf.harness import RunRequest
    from autosinian.mlperf.harness import run as run_source
    from autosinian.mlperf.source import open_source

    request = RunRequest(
        serve=serving_request(arguments),
        mode=arguments.test_mode,
        fast=arguments.fast,
        settings=settings,
        log_settings=log_settings,
        mlperf_conf=arguments.mlperf_conf_path,
        user_conf=arguments.user_conf_path,
        time_limit_s=arguments.time_limit,
        memory_limit_bytes=arguments.memory_limit and arguments.memory_limit << 20,
    )
    source = open_source(arguments.bundle)
    reports = run_source(source, request, lambda text: print(text, file=sys.stderr))
    return print_reports(reports, as_json=arguments.json)
