"""`autosinian train-supernet`: a supernet by the sandwich rule with distillation."""

import argparse
import sys
from pathlib import Path
from typing import Any

EPILOG = """\
Writes to DIR: supernet.pt (half-precision weights; name it in a search space), log.jsonl (one
line a minute, to plot), figures.json (test accuracy of the largest, the smallest and 50 random
subnets before and after batch-norm recalibration) and training.pt, from which the same command
resumes. All images are held in the device's memory.

examples:
  autosinian train-supernet --data fashion_mnist --data-path /usr/share/datasets/fashion-mnist \\
      --resolutions 28,32,40,48,56 --width-mult 0.75 --epochs 100 --out runs/fashion
  torchrun --nproc-per-node 2 -m autosinian.cli.main train-supernet --data cifar10 \\
      --data-path cifar10.tar.xz --resolutions 64,80,96 --width-mult 1.2 --out runs/cifar10
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train-supernet",
        help="train an OFA supernet of your own",
        description="Train a supernet: the largest subnet learns the labels, the smallest and "
        "random ones learn from the largest.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="NAME",
        help="fashion_mnist, cifar10, or imagenet (images of one size)",
    )
    parser.add_argument("--data-path", type=Path, metavar="PATH", help="its folder or archive")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument("--family", default="proxyless", help="proxyless, mobilenet_v3 or resnet")
    parser.add_argument("--width-mult", type=float, default=1.0, metavar="W")
    parser.add_argument(
        "--resolutions", required=True, metavar="R,R,...", help="pixels, multiples of 4"
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="of training, in all")
    parser.add_argument("--batch-size", type=int, default=512, help="of each device")
    parser.add_argument("--learning-rate", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--restart", action="store_true", help="ignore an earlier training.pt")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; prints the path of the weights."""
    from autosinian.errors import InputError

    try:
        resolutions = tuple(sorted({int(r) for r in args.resolutions.split(",")}))
    except ValueError as error:
        raise InputError(
            f"--resolutions must be whole numbers with commas, but got `{args.resolutions}`"
        ) from error
    for name, value in (
        ("--resolutions", resolutions[0] - 27),
        ("--epochs", args.epochs),
        ("--batch-size", args.batch_size),
        ("--width-mult", args.width_mult),
        ("--learning-rate", args.learning_rate),
    ):
        if value <= 0:
            least = "at least 28" if name == "--resolutions" else "above 0"
            raise InputError(f"{name} must be {least}")

    from autosinian.data.catalogue import open_dataset
    from autosinian.supernet.families import SupernetConfig
    from autosinian.supernet.training.images import training_images
    from autosinian.supernet.training.options import TrainingOptions
    from autosinian.supernet.training.processes import training_device
    from autosinian.supernet.training.run import CHECKPOINT, Training

    dataset = open_dataset(args.data, args.data_path)
    config = SupernetConfig.make(args.family, width_mult=args.width_mult, classes=dataset.classes)
    options = TrainingOptions(
        resolutions=resolutions,
        epochs=args.epochs,
        time_limit=args.time_limit,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
    )
    print(f"reading {args.data}", file=sys.stderr, flush=True)
    data = training_images(dataset)
    with training_device(args.device) as device:
        if args.restart:
            (args.out / CHECKPOINT).unlink(missing_ok=True)
        print(Training(config, data, options, args.out, device).run())
    return 0
