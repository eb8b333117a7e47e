"""INT4 ResNet-50 on CIFAR-10 within minutes on one GPU: float, 4 bits, mixed precision, exact.

    python benchmarks/int4_finetune.py --data-path CIFAR10.tar.xz --work WORK --output RESULTS

Runs `autosinian int4 finetune` with its time divided: about half to train the float network, the
rest in equal parts to fine-tune all layers in 4 bits and networks that keep the most harmed layers
in 8 bits. What is done is copied to RESULTS as it comes: `int4_finetune.csv` (accuracies, device,
versions, date), `int4_finetune_trade_off.svg`, `int4_finetune_sensitivity.csv`,
`int4_finetune.jsonl` (the log), `input.json`, `chosen.json` and each model folder as a tar.
`float.pt` stays in WORK; `--weights` starts from it.
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
from autosinian.int4.finetune.record import LOG, PLOT, TABLE, table
from autosinian.int4.finetune.run import CHOSEN, INPUT, SENSITIVITY, Finetune
from autosinian.int4.finetune.schedule import Schedule
from autosinian.supernet.training.processes import training_device

UNLIMITED_EPOCHS = 1000
PART_BYTES = 15_000_000
FLOAT_SHARE = 0.47
COPIED = {
    TABLE: "int4_finetune.csv",
    SENSITIVITY: "int4_finetune_sensitivity.csv",
    LOG: "int4_finetune.jsonl",
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
    parser.add_argument("--time", type=float, default=300.0, help="seconds of training in all")
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


def main() -> int:
    """Run all; 1 where a step failed, with what was done before it kept."""
    args = parse()
    counts = tuple(int(part) for part in args.int8_layers.split(",") if part)

    float_share = 0.0 if args.weights else FLOAT_SHARE
    integers = Schedule(
        UNLIMITED_EPOCHS,
        args.learning_rate,
        args.batch_size,
        args.time * (1 - float_share) / (1 + len(counts)),
    )

    args.output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with training_device(args.device) as device:
        options = FinetuneOptions(
            out=args.work,
            resolution=args.resolution,
            float_schedule=Schedule(
                UNLIMITED_EPOCHS,
                args.float_learning_rate,
                args.batch_size,
                args.time * FLOAT_SHARE,
            ),
            integer_schedule=integers,
            mixed_schedule=integers,
            network=args.network,
            depths=args.depths,
            width_per_group=args.width_per_group,
            weights=args.weights,
            int8_counts=counts,
            sensitivity_images=args.sensitivity_images,
            reference_images=args.reference_images,
        )
        data = open_images(args.data, args.data_path, args.resolution, device, args.limit)
        print(f"read the images in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

        def kept(variant: Variant | None) -> None:
            if variant is not None:
                pack(variant.folder, args.output)
            keep(args.work, args.output)

        work, failure = Finetune(options, data, kept), 0
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
