"""`autosinian ssd`: SSD-ResNet34 detectors. One module a command; each imports nothing heavy until
it runs."""

import argparse
import importlib
from typing import Any

COMMANDS = ("train", "evaluate", "export", "quantize", "show_params")
"""Modules of this folder; each has `add_parser`."""

EPILOG = """\
examples:
  autosinian ssd train bccd.tar --width 0.25 --out runs/bccd
  autosinian ssd evaluate runs/bccd/detector.pt bccd.tar --split test
  autosinian ssd quantize runs/bccd/detector.pt bccd.tar --split train
  autosinian ssd quantize resnet34-ssd1200.pth instances_train2017.json train2017
  autosinian ssd show-params output/TIME/PREFIX_params.json
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command and its own commands."""
    parser = subparsers.add_parser(
        "ssd",
        help="train, evaluate and quantize SSD-ResNet34 detectors",
        description="SSD-ResNet34 object detection, as MLPerf defines it, of any width and class "
        "count, at 300 or 1200 pixels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="ssd_command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"autosinian.cli.ssd.{name}").add_parser(commands)
