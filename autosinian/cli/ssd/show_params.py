"""`autosinian ssd show-params FILE`: what a quantization was made with."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "show-params",
        help="print the parameters of a quantization",
        description="Print the parameters of an `ssd quantize` run, one `name: value` a line.",
        epilog="example:\n  autosinian ssd show-params output/2026-01-31-12-00-00/"
        "ssd_resnet34_params.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="PREFIX_params.json")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the parameters."""
    from autosinian.detection.quantization_parameters import lines, read_parameters

    parameters = read_parameters(args.file)
    print(json.dumps(parameters, indent=2) if args.json else "\n".join(lines(parameters)))
    return 0
