"""`autosinian int4 finetune`: a float ResNet becomes a network of 4-bit integers."""

import argparse
import sys
from pathlib import Path
from typing import Any

EPILOG = """\
Steps: train the float network (or read --weights, or --ofa-net), fold batch norm, take ranges from
a percentile of calibration histograms, fine-tune with the integers' own arithmetic forward and
straight-through gradients backward, write the integers, and judge what was written, exactly.

Writes to DIR: model/ (all layers in 4 bits), model_int8_N/ for each N of --int8-layers (the N
layers that 4 bits harm most stay in 8), input.json (how an image becomes the int8 input),
accuracy.csv and trade_off.svg (accuracy over size), sensitivity.csv, chosen.json, log.jsonl,
float.pt and, with --profile, profile.csv (where the time of a training step goes).

examples:
  autosinian int4 finetune --data fashion_mnist --resolution 32 --depths 1,1,1,1 \\
      --float-epochs 4 --epochs 2 --out runs/fashion_int4
  autosinian int4 finetune --data cifar10 --data-path cifar10.tar.xz --resolution 96 \\
      --float-seconds 135 --seconds 115 --int8-layers 4,12 --out runs/cifar10_int4
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "finetune",
        help="make a network of 4-bit integers from a float ResNet",
        description="Quantize a ResNet to 4-bit integers and fine-tune it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        required=True,
        metavar="NAME",
        help="cifar10, fashion_mnist, or imagenet (images of one size)",
    )
    add("--data-path", type=Path, metavar="PATH", help="its folder or archive")
    add("--out", type=Path, required=True, metavar="DIR", help="where results go")
    add("--resolution", type=int, required=True, metavar="PX", help="images are enlarged to this")
    add("--limit", type=int, metavar="N", help="use so many images of each role at most")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--seed", type=int, default=0)
    add("--profile", action="store_true", help="time a step of every training: profile.csv")
    network = parser.add_argument_group("float network").add_argument
    network("--network", default="resnet50", help="resnet50 (default), resnet101 or resnet152")
    network("--depths", metavar="D,D,D,D", help="blocks of each layer in place of the network's")
    network(
        "--width-per-group", type=int, default=64, metavar="W", help="narrower middles below 64"
    )
    network(
        "--weights", type=Path, metavar="FILE", help="trained weights (state dict); no training"
    )
    network("--ofa-net", type=Path, metavar="DIR", help="an OFA-ResNet subnet: net.config, init")
    network("--float-epochs", type=float, default=60.0, metavar="E")
    network("--float-seconds", type=float, metavar="S", help="train for so long at most")
    network("--float-batch-size", type=int, default=256, metavar="N")
    network("--float-learning-rate", type=float, default=0.15, metavar="R")
    integers = parser.add_argument_group("fine-tuning of integers").add_argument
    integers("--epochs", type=float, default=15.0, metavar="E")
    integers("--seconds", type=float, metavar="S", help="fine-tune for so long at most")
    integers("--batch-size", type=int, default=256, metavar="N")
    integers("--learning-rate", type=float, default=0.02, metavar="R", help="in quantization steps")
    integers("--percentile", type=float, default=99.999, metavar="P", help="of activation ranges")
    integers(
        "--distillation", type=float, default=0.7, metavar="A", help="weight of the float answers"
    )
    integers("--fixed-ranges", action="store_true", help="keep the ranges as calibrated")
    integers("--reference-images", type=int, default=500, metavar="N", help="of the proof")
    mixed = parser.add_argument_group("mixed precision").add_argument
    mixed("--int8-layers", metavar="N,N,...", help="also networks with so many layers in 8 bits")
    mixed("--mixed-seconds", type=float, metavar="S", help="for each; --seconds unless given")
    mixed("--sensitivity-images", type=int, default=1000, metavar="N")
    mixed(
        "--within", type=float, default=1.0, metavar="POINTS", help="of float accuracy, to choose"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fine-tune; prints the table of accuracies."""
    from autosinian.errors import InputError
    from autosinian.int4.finetune.images import open_images
    from autosinian.int4.finetune.integer_training import Teaching
    from autosinian.int4.finetune.options import FinetuneOptions
    from autosinian.int4.finetune.record import table
    from autosinian.int4.finetune.run import Finetune
    from autosinian.int4.finetune.schedule import Schedule
    from autosinian.supernet.training.processes import training_device

    def numbers(option: str, text: str | None) -> tuple[int, ...]:
        try:
            return () if text is None else tuple(int(part) for part in text.split(","))
        except ValueError as error:
            raise InputError(
                f"{option} must be whole numbers with commas, but got `{text}`"
            ) from error

    if not 0 <= args.distillation <= 1:
        raise InputError(f"--distillation must be 0 to 1, but got {args.distillation}")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1 image, but got {args.limit}")
    integers = Schedule(args.epochs, args.learning_rate, args.batch_size, args.seconds)
    options = FinetuneOptions(
        out=args.out,
        resolution=args.resolution,
        float_schedule=Schedule(
            args.float_epochs, args.float_learning_rate, args.float_batch_size, args.float_seconds
        ),
        integer_schedule=integers,
        mixed_schedule=Schedule(
            args.epochs, args.learning_rate, args.batch_size, args.mixed_seconds or args.seconds
        ),
        network=args.network,
        depths=numbers("--depths", args.depths) or None,
        width_per_group=args.width_per_group,
        weights=args.weights,
        ofa_net=args.ofa_net,
        int8_counts=numbers("--int8-layers", args.int8_layers),
        tolerance=args.within,
        percentile=args.percentile,
        sensitivity_images=args.sensitivity_images,
        reference_images=args.reference_images,
        seed=args.seed,
        profile=args.profile,
        teaching=Teaching(args.distillation, learn_ranges=not args.fixed_ranges),
    )
    with training_device(args.device) as device:
        data = open_images(args.data, args.data_path, args.resolution, device, args.limit)
        work = Finetune(options, data)
        work.run()
    print(table(work.record.rows))
    print(_inputs_command(args, data.input_scale), file=sys.stderr)
    return 0


def _inputs_command(args: argparse.Namespace, scale: float) -> str:
    """How to make the arrays that `autosinian int4 predict` reads for the written networks."""
    place = "" if args.data_path is None else f" --data {args.data_path}"
    return (
        f"inputs for `autosinian int4 predict`: autosinian preprocess {args.data}{place} "
        f"--resolution {args.resolution} --dtype int8 --scale {scale!r} --val-only --out arrays"
    )
