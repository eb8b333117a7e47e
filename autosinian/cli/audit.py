"""`autosinian audit BUNDLE`: MLPerf's audits of a bundle, run and judged."""

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path

from autosinian.cli.worker_options import add_worker_options, worker_choice

EPILOG = """\
TEST01  a performance run in which LoadGen logs some of the answers: they must be those of the
        accuracy run, and the speed within 10 % of the performance run's
TEST04  a performance run of one sample over and over: not more than 10 % faster, or the SUT
        remembers answers
TEST05  a performance run with other random numbers: not more than 5 % slower (asked for before
        round v5.0)

Latencies up to 200 us a query may differ by 20 %. Each run takes 600 s unless `--duration` says
otherwise, which is for trying only. The folder is laid out as results/<system>/<benchmark> of a
submission, and `autosinian submission --logs DIR` takes it. The audit.config of each test is named
to LoadGen and lies in the test's own folder, never in the current one.

exit codes: 0 every audit is passed, 1 one is not, 2 bad input

examples:
  autosinian audit studies/fashion_mnist/best                  TEST01 and TEST04, each scenario
  autosinian audit bundles/cifar10 --scenario Offline --duration 10
  autosinian audit bundles/cifar10 --logs build/logs           compared with runs that are there
  autosinian audit bundles/cifar10 --audit-config inference/compliance/TEST04/audit.config
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "audit",
        help="run and judge MLPerf's audits of a bundle",
        description="Run MLPerf's compliance tests on a bundle and judge them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="DIR", help="a folder made by export-best")
    parser.add_argument(
        "--test",
        action="append",
        choices=("TEST01", "TEST04", "TEST05"),
        help="a test to run; may be repeated (default: TEST01 and TEST04)",
    )
    parser.add_argument(
        "--audit-config",
        type=Path,
        action="append",
        metavar="FILE",
        default=[],
        help="an audit.config to use instead of the built-in one of its test; may be repeated",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        default=[],
        help="a scenario; may be repeated (default: those the bundle was measured in)",
    )
    parser.add_argument(
        "--logs",
        type=Path,
        metavar="DIR",
        help="runs to compare with, as build/logs; those that it lacks are made",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the logs and verdicts go (default: build/audit/<time>)",
    )
    add_run_options(parser)
    add_worker_options(parser)
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    parser.set_defaults(run=run)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that makes runs at a round's settings."""
    parser.add_argument(
        "--round",
        metavar="NAME",
        default="v6.1",
        help="the MLPerf Inference round whose seeds count: v6.1 (default) or v6.0",
    )
    parser.add_argument(
        "--duration", type=float, metavar="S", help="seconds of each run, to try (default: 600)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="the data set's folder or archive, where moved"
    )


def run(arguments: argparse.Namespace) -> int:
    """Audit; the verdicts go to stdout, the exit code is 1 where one is not passed."""
    import tempfile

    from autosinian.mlperf.audit import check_folder, run_audits
    from autosinian.mlperf.audit_config import read_audit_config
    from autosinian.mlperf.audit_runs import check_scenarios, open_served
    from autosinian.mlperf.rules import AUDITS, find_round
    from autosinian.mlperf.submission_take import take_runs

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    round_ = find_round(arguments.round)
    configs = dict(read_audit_config(path) for path in arguments.audit_config)
    tests = list(dict.fromkeys(arguments.test or (list(configs) or AUDITS)))
    tests += [test for test in configs if test not in tests]
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    out = arguments.out or Path("build") / "audit" / stamp
    check_folder(out)
    choice = worker_choice(arguments)
    audits = []
    with tempfile.TemporaryDirectory(prefix="autosinian-audit-") as scratch:
        served = open_served(
            arguments.bundle,
            round_,
            Path(scratch),
            choice,
            tell,
            data=arguments.data,
            seconds=arguments.duration,
        )
        scenarios = check_scenarios(arguments.scenario, served.source)
        for scenario in scenarios:
            if arguments.logs is not None:
                take_runs(arguments.logs, scenario, out / scenario, served, tell, audits=())
            audits += run_audits(served, scenario, tests, out / scenario, tell, configs)
    if arguments.json:
        print(json.dumps({"folder": str(out), "audits": [a.to_dict() for a in audits]}))
    else:
        for found in audits:
            told = f": {'; '.join(found.reasons)}" if found.reasons else ""
            print(f"{'ok    ' if found.passed else 'FAILED'} {found.scenario} {found.test}{told}")
        print(f"logs and verdicts in `{out}`", file=sys.stderr)
    failed = [f"{a.scenario} {a.test}" for a in audits if not a.passed]
    if failed:
        print(f"autosinian: not passed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
