"""`autosinian ssd export`: a detector as fp32 ONNX."""

import argparse
from pathlib import Path
from typing import Any

EPILOG = """\
The ONNX (opset 17, any batch size) takes `images`, N x 3 x s x s, and gives `boxes`, N x 4 x boxes
(offsets from the default boxes), and `scores`, N x classes x boxes, behind a softmax. It holds no
suppression; what decoding needs is in the file's metadata.

example:
  autosinian ssd export pretrained/bccd_ssd.pt bccd.onnx
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a detector as ONNX",
        description="Write a detector as fp32 ONNX, batch norm folded.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="detector.pt, or the published")
    parser.add_argument("output", type=Path, metavar="FILE", help="where the ONNX goes")
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="of a published checkpoint"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export; prints the path."""
    from autosinian.detection.checkpoint import load_detector
    from autosinian.detection.export import export_detector
    from autosinian.errors import InputError

    detector = load_detector(args.model, image_size=args.image_size)
    try:
        export_detector(detector, args.output)
    except OSError as error:
        raise InputError(f"`{args.output}` must be written, but: {error.strerror}") from error
    print(args.output)
    return 0
