"""INT4 ResNet-50 on CIFAR-10 within minutes on one GPU: float, 4 bits, mixed precision, exact.

    python benchmarks/int4_finetune.py --data-path CIFAR10.tar.xz --work WORK --output RESULTS

Runs `autosinian int4 finetune` so that all of it, images read and integers judged, ends within
`--time`: the float network has about two fifths of the training time, all layers in 4 bits a third,
and networks that keep the most harmed layers in 8 bits the rest in equal parts. What is done is
copied to RESULTS as it comes: `int4_finetune.csv` (accuracies, device, versions, date),
`int4_finetune_trade_off.svg`, `int4_finetune_sensitivity.csv`, `int4_finetune.jsonl` (the log),
`int4_finetune_profile.csv` (where a step's time goes), `input.json`, `chosen.json` and each model
folder as a tar. `float.pt` stays in WORK; `--weights` starts from it. `--smoke` does three epochs
in float and two in 4 bits on a part of the images, with the profile.
"""

import argparse
import shutil
import sys
import tarfile
import time
from pathlib import Path

from autosinian.content import atomic_file
from autosinian.errors import AutosinianError
from autosinian.int4.finetune.choice import Variant
from autosinian.int4.finetune.images import open_images
from autosinian.int4.finetune.options import FinetuneOptions
from autosinian.int4.finetune.record import LOG, PLOT, PROFILE, TABLE, table
from autosinian.int4.finetune.run import CHOSEN, INPUT, SENSITIVITY, Finetune
from autosinian.int4.finetune.schedule import Schedule
from autosinian.supernet.training.processes import training_device

UNLIMITED_EPOCHS = 1000
PART_BYTES = 15_000_000
FLOAT_SHARE, INTEGER_SHARE = 0.4, 0.34
RESERVE_SECONDS = 48.0
"""For calibration, sensitivity, and the judgement of every network."""
SMOKE_IMAGES = 5000
COPIED = {
    TABLE: "int4_finetune.csv",
    SENSITIVITY: "int4_finetune_sensitivity.csv",
    LOG: "int4_finetune.jsonl",
    PROFILE: "int4_finetune_profile.csv",
    PLOT: "int4_finetune_trade_off.svg",
    INPUT: "input.json",
    CHOSEN: "chosen.json",
}


def keep(work: Path, output: Path) -> None:
    """Copy what there is of the small files."""
    for name, target in COPIED.items():
        if (work / name).exists():
            shutil.copyfile(work / name, output / target)


def pack(folder: Path, output: Path) -> None:
    """One model folder as a tar, whole or not at all; in parts to be joined where it is large."""
    with (
        atomic_file(output / f"{folder.name}.tar.gz") as temporary,
        tarfile.open(temporary, "w:gz") as archive,
    ):
        archive.add(folder, folder.name)
    whole = output / f"{folder.name}.tar.gz"
    content = whole.read_bytes()
    if len(content) > PART_BYTES:
        for number, start in enumerate(range(0, len(content), PART_BYTES)):
            part = content[start : start + PART_BYTES]
            with atomic_file(output / f"{whole.name}.{number:02}") as temporary:
                temporary.write_bytes(part)
        whole.unlink()


def parse() -> argparse.Namespace:
    """The options; the defaults are those of the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-path", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--time", type=float, default=400.0, help="seconds in all")
    parser.add_argument("--smoke", action="store_true", help="a few epochs and a profile")
    parser.add_argument("--profile", action="store_true", help="time a step of every training")
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--depths", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--width-per-group", type=int, default=64)
    parser.add_argument("--weights", type=Path, help="the float network, trained before")
    parser.add_argument("--int8-layers", default="4,12", help="numbers of layers in 8 bits")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--float-learning-rate", type=float, default=0.15)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--sensitivity-images", type=int, default=1000)
    parser.add_argument("--reference-images", type=int, default=500)
    parser.add_argument("--limit", type=int, help="so many images of each role at most")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def limited(args: argparse.Namespace, seconds: float) -> FinetuneOptions:
    """The options of a run that takes about `seconds` from now on."""
    counts = tuple(int(part) for part in args.int8_layers.split(",") if part)
    training = max(10.0, seconds - RESERVE_SECONDS)
    shares = {
        "float": 0.0 if args.weights else FLOAT_SHARE,
        "int4": INTEGER_SHARE,
        "mixed": (1 - FLOAT_SHARE - INTEGER_SHARE) if counts else 0.0,
    }
    total = sum(shares.values())

    def schedule(share: float, rate: float) -> Schedule:
        part = max(1.0, training * share / total)
        return Schedule(UNLIMITED_EPOCHS, rate, args.batch_size, part)

    return options_of(
        args,
        schedule(shares["float"], args.float_learning_rate),
        schedule(shares["int4"], args.learning_rate),
        schedule(shares["mixed"] / max(1, len(counts)), args.learning_rate),
        counts,
    )


def smoke(args: argparse.Namespace) -> FinetuneOptions:
    """The options of a few epochs."""
    integers = Schedule(2, args.learning_rate, args.batch_size)
    float_ = Schedule(3, args.float_learning_rate, args.batch_size)
    args.profile = True
    return options_of(args, float_, integers, integers, ())


def options_of(
    args: argparse.Namespace,
    float_schedule: Schedule,
    integer_schedule: Schedule,
    mixed_schedule: Schedule,
    counts: tuple[int, ...],
) -> FinetuneOptions:
    """All options."""
    return FinetuneOptions(
        out=args.work,
        resolution=args.resolution,
        float_schedule=float_schedule,
        integer_schedule=integer_schedule,
        mixed_schedule=mixed_schedule,
        network=args.network,
        depths=args.depths,
        width_per_group=args.width_per_group,
        weights=args.weights,
        int8_counts=counts,
        sensitivity_images=args.sensitivity_images,
        reference_images=args.reference_images,
        profile=args.profile,
    )


def main() -> int:
    """Run all; 1 where a step failed, with what was done before it kept."""
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with training_device(args.device) as device:
        limit = SMOKE_IMAGES if args.smoke and args.limit is None else args.limit
        data = open_images(args.data, args.data_path, args.resolution, device, limit)
        read = time.monotonic() - start
        print(f"read the images in {read:.0f} s", file=sys.stderr, flush=True)
        options = smoke(args) if args.smoke else limited(args, args.time - read)

        def kept(variant: Variant | None) -> None:
            if variant is not None:
                pack(variant.folder, args.output)
            keep(args.work, args.output)

        work, failure = Finetune(options, data, kept, start + args.time), 0
        try:
            work.run()
        except (AutosinianError, RuntimeError, OSError) as error:
            print(f"stopped: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failure = 1
    keep(args.work, args.output)
    print(table(work.record.rows))
    print(f"{time.monotonic() - start:.0f} s in all")
    return failure


if __name__ == "__main__":
    sys.exit(main())
