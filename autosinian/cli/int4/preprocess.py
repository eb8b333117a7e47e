"""`autosinian int4 preprocess`: image files to the int8 arrays that networks of integers read."""

import argparse
from pathlib import Path

EPILOG = """\
OUT becomes a folder with inputs.npy (int8, N x 3 x S x S) and labels.npy (int64, N), one row a line
of the map. The rule is the published one: short side to 8/7 of S (Pillow's bilinear), centre crop,
ImageNet's mean and deviation, steps of 2.64 / 127, halves to even, -127 to 127.

example:
  autosinian int4 preprocess IMAGES --out arrays
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "preprocess",
        help="image files to int8 arrays",
        description="Turn images into the int8 arrays that networks of integers read.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", type=Path, metavar="IMAGES", help="the folder of images")
    parser.add_argument(
        "--map", type=Path, metavar="FILE", help="name and label a line (default: val_map.txt)"
    )
    parser.add_argument("--side", type=int, default=224, metavar="S", help="pixels (default: 224)")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="a new folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the arrays and say where they are."""
    from autosinian.int4.images import make_arrays

    count = make_arrays(
        arguments.images,
        arguments.map or arguments.images / "val_map.txt",
        arguments.side,
        arguments.out,
    )
    print(f"{count} x 3 x {arguments.side} x {arguments.side} int8 in `{arguments.out}`")
    return 0
