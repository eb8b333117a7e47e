"""`autosinian ssd`: SSD-ResNet34 detectors. One module a command; each imports nothing heavy until
it runs."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

COMMANDS = ("train", "evaluate", "export", "quantize", "show_params")
"""Modules of this folder; each has `add_parser`."""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command and its own commands."""
    parser = subparsers.add_parser(
        "ssd",
        help="train, evaluate and quantize SSD-ResNet34 detectors",
        description="SSD-ResNet34 object detection, as MLPerf defines it, of any width and class "
        "count, at 300 or 1200 pixels.",
    )
    commands = parser.add_subparsers(dest="ssd_command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"autosinian.cli.ssd.{name}").add_parser(commands)
