"""`autosinian ssd evaluate`: COCO mAP of a detector."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

EPILOG = """\
ANNOTATIONS is a COCO file (name IMAGES too) or a Pascal VOC data set, a folder or a tar archive
(name the split). MODEL is a detector.pt of `ssd train`, the checkpoint MLPerf published, or an
ONNX file of `ssd export` or `ssd quantize`.

examples:
  autosinian ssd evaluate runs/bccd/detector.pt bccd.tar --split test
  autosinian ssd evaluate resnet34-ssd1200.pth instances_val2017.json val2017
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="COCO mAP of a detector",
        description="Mean average precision by COCO's rule, with pycocotools.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("annotations", type=Path, metavar="ANNOTATIONS")
    parser.add_argument("images", type=Path, nargs="?", metavar="IMAGES")
    parser.add_argument("--split", metavar="NAME", help="of a VOC data set (default: val)")
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="of a published checkpoint"
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate; prints the figures."""
    from autosinian.errors import InputError

    if args.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1, but got {args.batch_size}")

    from autosinian.detection.evaluate import evaluate_split
    from autosinian.detection.opened import open_detector
    from autosinian.detection.source import open_annotated

    opened = open_detector(args.model, args.device, image_size=args.image_size)
    images = open_annotated(
        args.annotations, args.images, split=args.split, class_names=opened.class_names or None
    )
    for reason in images.dropped:
        print(f"left out: {reason}", file=sys.stderr)
    if images.classes != opened.classes:
        raise InputError(
            f"detector {args.model} has {opened.classes - 1} classes, but the annotations have "
            f"{images.classes - 1}"
        )
    figures, _ = evaluate_split(
        opened.forward, opened.layout, images, batch_size=args.batch_size, device=opened.device
    )
    by_class = dict(zip(images.class_names, figures.by_class, strict=True))
    if args.json:
        told = asdict(figures) | {"by_class": by_class, "images": len(images.images)}
        print(json.dumps(told))
        return 0
    print(f"images     {len(images.images)}")
    print(f"mAP        {figures.mean:6.2f}")
    print(f"AP50       {figures.at_50:6.2f}")
    print(f"AP75       {figures.at_75:6.2f}")
    for name, value in by_class.items():
        print(f"mAP {name:<10} {value:6.2f}")
    return 0
