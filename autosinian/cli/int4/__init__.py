"""`autosinian int4 COMMAND`: one module a command; each has `add_parser` and imports little."""

import argparse
import importlib
import pkgutil

DESCRIPTION = """\
Networks of 4-bit integers in the form of NVIDIA's INT4 ResNet-50: run, measure, tune and make them.
"""

EPILOG = """\
examples:
  autosinian int4 preprocess IMAGES --out arrays
  autosinian int4 predict model --inputs arrays/inputs.npy --labels arrays/labels.npy
  autosinian int4 tune model -b 256
  autosinian int4 run model -b 256 -a autoconfig_h100 -p arrays -m IMAGES/val_map.txt
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command and all modules of this room under it."""
    parser = subparsers.add_parser(
        "int4",
        help="networks of 4-bit integers: predict, run, tune, make",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inner = parser.add_subparsers(dest="int4_command", metavar="COMMAND", required=True)
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        importlib.import_module(f"{__name__}.{module.name}").add_parser(inner)
