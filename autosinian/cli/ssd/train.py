"""`autosinian ssd train`: a detector from scratch."""

import argparse
import sys
from pathlib import Path
from typing import Any

EPILOG = """\
DATA is a Pascal VOC data set, a folder or a tar archive that holds ImageSets/Main, Annotations and
JPEGImages; or name COCO files. Writes to DIR: detector.pt (the averaged weights with the best
validation mAP), log.jsonl (a line an evaluation), figures.json, and training.pt, from which the
same command resumes. All training images are held in the device's memory.

examples:
  autosinian ssd train bccd.tar --width 0.25 --out runs/bccd_quarter
  autosinian ssd train --train-coco instances_train2017.json train2017 \\
      --validation-coco instances_val2017.json val2017 --image-size 1200 --out runs/coco
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a detector on your annotated images",
        description="Train an SSD-ResNet34 from scratch; the test split is never read.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA", help="a Pascal VOC data set")
    parser.add_argument("--train-split", default="train", metavar="NAME")
    parser.add_argument("--validation-split", default="val", metavar="NAME")
    for role in ("train", "validation"):
        parser.add_argument(
            f"--{role}-coco",
            type=Path,
            nargs=2,
            metavar=("JSON", "IMAGES"),
            help=f"COCO annotations and images to {'train' if role == 'train' else 'validate'} on",
        )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument("--width", type=float, default=1.0, metavar="W", help="times all channels")
    parser.add_argument("--image-size", type=int, default=300, metavar="PIXELS", help="300 or 1200")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument(
        "--time", type=float, metavar="SECONDS", help="of training, in all; anneals to its end"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--averaging", type=float, default=0.999, help="decay of averaged weights")
    parser.add_argument("--evaluations", type=int, default=20, help="on the validation split")
    parser.add_argument("--vertical-flip", action="store_true", help="for images without an up")
    parser.add_argument(
        "--whole-share", type=float, default=0.3, metavar="S", help="images neither cut nor shrunk"
    )
    parser.add_argument(
        "--crop", type=float, default=0.4, metavar="S", help="smallest side of a cut-out"
    )
    parser.add_argument(
        "--zoom-out", type=float, default=1.6, metavar="S", help="largest canvas an image lies on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--restart", action="store_true", help="ignore an earlier training.pt")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; prints the path of the weights."""
    from autosinian.errors import InputError

    for name in ("steps", "batch_size", "learning_rate", "evaluations"):
        if getattr(args, name) <= 0:
            raise InputError(f"--{name.replace('_', '-')} must be above 0")
    if not 0 <= args.averaging < 1:
        raise InputError(f"--averaging must be at least 0 and below 1, but got {args.averaging}")
    if args.time is not None and args.time <= 0:
        raise InputError(f"--time must be above 0 seconds, but got {args.time:g}")
    for name, low, high in (("whole_share", 0, 1), ("crop", 0.1, 1), ("zoom_out", 1, 8)):
        if not low <= getattr(args, name) <= high:
            raise InputError(f"--{name.replace('_', '-')} must be between {low} and {high}")
    coco = args.train_coco is not None and args.validation_coco is not None
    partly = args.train_coco is not None or args.validation_coco is not None
    if (args.data is None) != coco or coco != partly:
        raise InputError("give DATA, or both --train-coco and --validation-coco")

    from autosinian.detection.augmentation import Augmentation
    from autosinian.detection.device import choose_device
    from autosinian.detection.network import SsdConfig
    from autosinian.detection.source import open_annotated
    from autosinian.detection.training import CHECKPOINT, LOG, Training, TrainingOptions

    if coco:
        train = open_annotated(*args.train_coco)
        validation = open_annotated(*args.validation_coco, class_names=train.class_names)
    else:
        train = open_annotated(args.data, split=args.train_split)
        validation = open_annotated(args.data, split=args.validation_split)
    for reason in (*train.dropped, *validation.dropped):
        print(f"left out: {reason}", file=sys.stderr)
    config = SsdConfig(classes=train.classes, width=args.width, image_size=args.image_size)
    options = TrainingOptions(
        steps=args.steps,
        time_limit=args.time,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        averaging=args.averaging,
        evaluations=args.evaluations,
        seed=args.seed,
        augmentation=Augmentation(
            kept=args.whole_share,
            crop=args.crop,
            zoom_out=args.zoom_out,
            vertical_flip=args.vertical_flip,
        ),
    )
    if args.restart:
        (args.out / CHECKPOINT).unlink(missing_ok=True)
        (args.out / LOG).unlink(missing_ok=True)
    training = Training(config, train, validation, options, args.out, choose_device(args.device))
    print(training.run())
    return 0
