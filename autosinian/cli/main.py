"""The `autosinian` command: one parser, one place where errors become one line and an exit code."""

import argparse
import importlib
import sys

from autosinian import __version__
from autosinian.errors import AutosinianError

COMMANDS = (
    "search",
    "export_best",
    "verify",
    "calibrate",
    "build",
    "run",
    "audit",
    "submission",
    "doctor",
    "report",
    "dashboard",
    "preprocess",
    "train_supernet",
    "compile_sut",
    "ssd",
    "int4",
)
"""Modules of this room; each has `add_parser` and imports nothing heavy until it runs."""

DESCRIPTION = """\
Find the fastest neural network that is accurate enough for this machine.

  autosinian search search_spaces/fashion_mnist.yaml   measure candidates, best first found
  autosinian dashboard fashion_mnist                   look inside while it runs
  autosinian export-best fashion_mnist                 re-measure the best, write a bundle
  autosinian verify studies/fashion_mnist/best         measure again from the bundle alone
  autosinian run studies/fashion_mnist/best --fast     run it as an MLPerf submitter does
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="autosinian",
        description=DESCRIPTION,
        epilog="exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"autosinian {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"autosinian.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the process's exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except AutosinianError as error:
        print(f"autosinian: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("autosinian: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout went away (`| head`): nobody is left to tell.
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
