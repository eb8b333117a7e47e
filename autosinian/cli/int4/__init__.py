"""`autosinian int4 COMMAND`: one module a command; each has `add_parser` and imports little."""

import argparse
import importlib
import pkgutil

DESCRIPTION = """\
Networks of 4-bit integers: run them, measure them, tune their kernels, make them.

  autosinian int4 predict MODEL_DIR --inputs X.npy --logits OUT.npy
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command and all modules of this room under it."""
    parser = subparsers.add_parser(
        "int4",
        help="networks of 4-bit integers: predict, run, tune, make",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inner = parser.add_subparsers(dest="int4_command", metavar="COMMAND", required=True)
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        importlib.import_module(f"{__name__}.{module.name}").add_parser(inner)
