"""`autosinian report STUDY`."""

import argparse
import sys
from pathlib import Path

EPILOG = """\
examples:
  autosinian report fashion_mnist
  autosinian report cifar10 --out cifar10.html

One file that opens in any browser without a network: the best against the baseline, the Pareto
plot, the history, every trial, which constraint bound, what failed and why, where the time went.
A bundle of `autosinian export-best` has one of its own, with the re-measured figures.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "report",
        help="write a study's findings as one HTML page",
        description="Write what a study has found so far as one self-contained HTML page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help="the study's name")
    parser.add_argument(
        "--storage", metavar="URL", help="SQLAlchemy URL (default: studies/STUDY.db)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: studies/STUDY/report.html"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; its path goes to stdout, the findings in short to stderr."""
    from autosinian.errors import InputError
    from autosinian.report.html import write_report
    from autosinian.report.words import describe_outcome
    from autosinian.search.outcome import read_outcome
    from autosinian.search.storage import load_study, work_folder

    outcome = read_outcome(load_study(arguments.study, arguments.storage))
    path: Path = arguments.out or work_folder(arguments.study) / "report.html"
    if path.is_dir():
        raise InputError(f"`--out` must be a file, but `{path}` is a folder")
    try:
        write_report(path, outcome)
    except OSError as error:
        raise InputError(
            f"the report must be a file that can be written, but `{path}` is not: "
            f"{error.strerror}; choose another with `--out`"
        ) from error
    print(describe_outcome(outcome), file=sys.stderr)
    print(path)
    return 0
