"""`autosinian dashboard STUDY`."""

import argparse
import sys

EPILOG = """\
examples:
  autosinian dashboard fashion_mnist
  autosinian dashboard cifar10 --storage postgresql+psycopg://user@host/db --port 9000

The page shows every trial with a note (the candidate in words, its figures beside the baseline's,
why it is infeasible), LoadGen's logs and the Pareto plot, also while a search runs. It listens on
this machine's own address only; from elsewhere use `ssh -L 8080:127.0.0.1:8080 HOST`.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "dashboard",
        help="look inside a study in a browser",
        description="Serve the Optuna dashboard of a study until Ctrl-C.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help="the study's name")
    parser.add_argument(
        "--storage", metavar="URL", help="SQLAlchemy URL (default: studies/STUDY.db)"
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="default: 8080, or a free one where that is taken"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve; the page's address goes to stdout."""
    from autosinian.search.server import Dashboard
    from autosinian.search.storage import load_study

    study = load_study(arguments.study, arguments.storage)
    with Dashboard(study, arguments.port) as dashboard:
        print(dashboard.url, flush=True)
        print("Ctrl-C ends it", file=sys.stderr)
        try:
            dashboard.serve()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return 0
