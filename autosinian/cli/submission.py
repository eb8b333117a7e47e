"""`autosinian submission`: write or check the tree of an MLPerf Inference submission."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from autosinian.cli.audit import add_run_options
from autosinian.cli.worker_options import add_worker_options, worker_choice

if TYPE_CHECKING:
    from autosinian.mlperf.checker import Report

EPILOG = """\
Runs that `--logs` does not hold are made (600 s each, seeds of the round), in build/submission.
Every file is written from the bundles, the logs and the machine; the tree is checked before it
gets its name, and one that breaks a rule is refused with the rule named. Beside the tree lie the
whole accuracy logs, which MLPerf may ask for. A network found by search belongs to the open
division.

Rounds v6.1 (default) and v6.0 share their layout; they differ in seeds. `--check` works on any
tree of that layout.

exit codes: 0 written or passed, 1 a rule is broken, 2 bad input

examples:
  autosinian submission studies/imagenet/best --submitter Example --division open --out tree
  autosinian submission bundles/* --submitter Example --division open --logs build/logs --out tree
  autosinian submission --check tree
  autosinian submission studies/fashion_mnist/best --submitter Example --division open --out tree \\
      --test-run --duration 2          a marked tree of short runs, to see what comes out
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "submission",
        help="write the tree of an MLPerf submission, or check one",
        description="Write the tree of an MLPerf Inference submission from bundles, or check one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundles", type=Path, nargs="*", metavar="DIR", help="folders made by export-best"
    )
    parser.add_argument("--check", type=Path, metavar="TREE", help="check this tree instead")
    parser.add_argument("--submitter", metavar="NAME", help="the submitting organization")
    parser.add_argument("--division", help="open or closed")
    parser.add_argument("--out", type=Path, metavar="TREE", help="the tree's folder")
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="runs to use, as build/logs or an audit's folder"
    )
    parser.add_argument(
        "--no-runs", action="store_true", help="make no run: use those in --logs alone"
    )
    parser.add_argument(
        "--audits",
        action="store_true",
        help="make the audits in the open division too, which does not ask for them",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        default=[],
        help="a scenario; may be repeated (default: those each bundle was measured in)",
    )
    parser.add_argument(
        "--system", metavar="NAME", help="the system's name (default: device and count)"
    )
    parser.add_argument(
        "--system-type", default="edge", metavar="TYPE", help="edge (default) or datacenter,edge"
    )
    parser.add_argument("--status", default="available", help="available (default), preview or rdi")
    parser.add_argument(
        "--system-fields",
        type=Path,
        metavar="FILE",
        help="a JSON object of system fields that no program can read, as cooling",
    )
    parser.add_argument(
        "--skip-dataset-size-check",
        action="store_true",
        help="leave out the rule that accuracy is of 50,000 images (as the official checker's "
        "option of that name), for other data sets",
    )
    parser.add_argument(
        "--test-run",
        action="store_true",
        help="write the tree whatever rules it breaks, marked as not to be submitted",
    )
    add_run_options(parser)
    add_worker_options(parser)
    parser.add_argument("--json", action="store_true", help="print what the check found as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write or check; results and problems go to stdout."""
    from autosinian.errors import InputError
    from autosinian.mlperf.checker import check
    from autosinian.mlperf.rules import find_round

    round_ = find_round(arguments.round)
    if arguments.check is None:
        report = _write(arguments)
        _print(report, as_json=arguments.json)
        return 0
    if arguments.bundles or arguments.out:
        raise InputError("`--check` takes a tree alone; leave bundles and `--out` out")
    report = check(arguments.check, round_, dataset_size=not arguments.skip_dataset_size_check)
    _print(report, as_json=arguments.json)
    if not report.passed:
        failed = ", ".join(f"`{name}`" for name in report.failed_rules)
        print(f"autosinian: rules of {round_.name} that are broken: {failed}", file=sys.stderr)
    return 0 if report.passed else 1


def _write(arguments: argparse.Namespace) -> "Report":
    import tempfile

    from autosinian.errors import InputError
    from autosinian.mlperf.audit_runs import check_scenarios, open_served
    from autosinian.mlperf.rules import find_round
    from autosinian.mlperf.submission import Submission
    from autosinian.mlperf.submission_plan import Plan
    from autosinian.mlperf.submission_system import read_fields

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    for name in ("submitter", "division", "out"):
        if not getattr(arguments, name):
            raise InputError(f"`--{name}` must be given to write a submission")
    if not arguments.bundles:
        raise InputError("a bundle must be given to write a submission, or `--check TREE`")
    if arguments.no_runs and arguments.logs is None:
        raise InputError("`--no-runs` needs `--logs`, the folder of the runs to use")
    if arguments.duration is not None and not arguments.test_run:
        raise InputError(
            "`--duration` makes runs that no round accepts; add `--test-run`, or leave it out"
        )
    plan = Plan(
        submitter=arguments.submitter,
        division=arguments.division,
        round=find_round(arguments.round),
        system=arguments.system,
        system_type=arguments.system_type,
        status=arguments.status,
        logs=arguments.logs,
        measure=not arguments.no_runs,
        audits=arguments.audits,
        fields=read_fields(arguments.system_fields) if arguments.system_fields else {},
        dataset_size=not arguments.skip_dataset_size_check,
        test_run=arguments.test_run,
    )
    if arguments.out.exists():
        raise InputError(f"`{arguments.out}` must not exist yet; choose another with `--out`")
    choice = worker_choice(arguments)
    with tempfile.TemporaryDirectory(prefix="autosinian-submission-") as scratch:
        # Runs take hours: what was measured stays also where the tree is refused.
        work = Path(scratch) / "runs" if arguments.no_runs else _new_folder()
        submission = Submission(plan, work, tell)
        opened = [
            open_served(
                bundle,
                plan.round,
                Path(scratch) / str(number),
                choice,
                tell,
                data=arguments.data,
                seconds=arguments.duration,
            )
            for number, bundle in enumerate(arguments.bundles)
        ]
        for served in opened:
            submission.add(served, check_scenarios(arguments.scenario, served.source))
        submission.collect()
        report = submission.write(arguments.out, arguments.duration)
    tell(f"the submission is in `{arguments.out}`")
    if plan.test_run:
        tell("it is a test run: it must not be submitted")
    return report


def _new_folder() -> Path:
    """A name below build/submission that nobody uses."""
    stamp = Path("build") / "submission" / time.strftime("%Y%m%d-%H%M%S")
    names = (stamp, *(stamp.with_name(f"{stamp.name}-{number}") for number in range(2, 100)))
    return next(path for path in names if not path.exists())


def _print(report: "Report", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_dict()))
        return
    for entry in report.entries:
        value = "no result" if entry.value is None else f"{entry.value:,.6g} {entry.unit}"
        accuracy = "" if entry.accuracy is None else f", accuracy {entry.accuracy:g} %"
        print(
            f"{entry.division}/{entry.submitter} {entry.system} {entry.benchmark} "
            f"{entry.scenario}: {value}{accuracy}"
        )
    for problem in report.problems:
        print(f"BROKEN {problem.rule}: {problem.where} {problem.detail}")
    if report.passed:
        print(f"every rule of {report.round} that concerns this benchmark is kept")
