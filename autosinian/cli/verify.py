"""`autosinian verify DIR`: a bundle measured again, from its own files."""

import argparse
import json
import sys
from pathlib import Path

from autosinian.cli.worker_options import add_worker_options, worker_choice

EPILOG = """\
Checks that every file is as exported, that the network in it gives the ONNX, that the engine file
gives exactly the stated accuracy on the validation samples, and that its performance is not slower
than the interval stated in result.json (`stated`, `stated_rule`). Faster is reported and passes.

exit codes: 0 nothing contradicts the bundle, 1 something does, 2 bad input

examples:
  autosinian verify studies/fashion_mnist/best
  autosinian verify bundles/cifar10 --data cifar10.zip
  autosinian verify bundles/cifar10 --rebuild     on another processor or OpenVINO version

The validation samples are prepared in the folder of temporary files (TMPDIR).
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "verify",
        help="measure a bundle again from its own files",
        description="Check a bundle's files and measure its accuracy and performance again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="DIR", help="a folder made by export-best")
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="the data set's folder or archive, where moved"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="performance runs (default: as many as exported)"
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="build the engine again from the ONNX where it was built for other versions",
    )
    add_worker_options(parser)
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify; the checks go to stdout, the exit code is 1 where one fails."""
    from autosinian.export.verification import failures, verify

    found = verify(
        arguments.bundle,
        data=arguments.data,
        rounds=arguments.rounds,
        rebuild=arguments.rebuild,
        choice=worker_choice(arguments),
        tell=lambda text: print(text, file=sys.stderr),
    )
    if arguments.json:
        print(json.dumps(found.to_dict()))
    else:
        for check in found.checks:
            print(f"{'ok    ' if check.passed else 'FAILED'} {check.name}: {check.detail}")
    if not found.passed:
        told = "; ".join(failures(found.checks))
        print(f"autosinian: the bundle does not hold: {told}", file=sys.stderr)
        return 1
    print("verified: nothing contradicts the bundle", file=sys.stderr)
    return 0
