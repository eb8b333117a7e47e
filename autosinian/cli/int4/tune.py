"""`autosinian int4 tune`: the best kernel configuration for each layer on this GPU."""

import argparse
import json
import re
import sys
import time
from pathlib import Path

EPILOG = """\
Each layer's shape is measured by itself (equal shapes once; what is three times slower than the
best is not measured to the end), then the whole network with the best few of each shape exchanged
until no exchange helps, all within `--time` (most promising first). Times are kept in `--cache`, so
that a second run is short.

With `--study`, ids of all layers, batch size and streams are then searched together as an Optuna
study that starts from the result; look at it with `autosinian dashboard NAME`.

examples:
  autosinian int4 tune model -b 256
  autosinian int4 tune model -b 256 --output autoconfig_h100 --time 300
  autosinian int4 tune model -b 256 --study int4_h100 --trials 200
"""


_CLOSING_S = 5.0
"""What a measurement that has begun, the file and the end of the compiling processes may take."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "tune",
        help="find the best kernels of a network on this GPU",
        description="Find the best kernel configuration for each layer on this GPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="the network's folder")
    parser.add_argument(
        "-b", "--batch", type=int, required=True, metavar="N", help="images a batch"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: autoconfig_<gpu> in this folder"
    )
    parser.add_argument(
        "--time",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="at most this, without --study (default: 300)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("studies") / "int4_kernel_times.jsonl",
        metavar="FILE",
        help="kept times (default: studies/int4_kernel_times.jsonl)",
    )
    parser.add_argument("--study", metavar="NAME", help="also search jointly, as this study")
    parser.add_argument("--storage", metavar="URL", help="of the study (default: studies/NAME.db)")
    parser.add_argument(
        "--trials", type=int, default=100, metavar="N", help="of the study (default: 100)"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the autoconfig file; its name and figures go to stdout."""
    begin = time.monotonic()
    from autosinian.errors import InputError
    from autosinian.int4.autoconfig import write_autoconfig
    from autosinian.int4.gpu.tuner import Tuner
    from autosinian.int4.model_reader import read_model

    if arguments.batch < 1 or arguments.time <= 0 or arguments.trials < 1:
        raise InputError(
            "`--batch` and `--trials` must be at least 1 and `--time` above 0, got "
            f"{arguments.batch}, {arguments.trials} and {arguments.time:g}"
        )
    network = read_model(arguments.model)

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - begin:5.0f} s] {text}", file=sys.stderr, flush=True)

    with Tuner(network, tell) as tuner:
        end = begin + arguments.time - min(_CLOSING_S, 0.1 * arguments.time)
        tuned, ranking = tuner.tune(arguments.batch, arguments.cache, end)
        choices, batch, streams = tuned.choices, arguments.batch, 1
        rate = tuned.images_per_second
        if arguments.study is not None:
            from autosinian.int4.joint_study import JointSpace, search

            space = JointSpace.around(tuner.layers, ranking, arguments.batch)
            best = search(
                arguments.study,
                arguments.storage,
                space,
                choices,
                tuner.images_per_second,
                tuner.versions,
                arguments.trials,
                tell,
            )
            choices, batch, streams, rate = (
                best.choices,
                best.batch,
                best.streams,
                best.images_per_second,
            )
        output = arguments.output or Path(f"autoconfig_{_file_name(tuner.device)}")
        write_autoconfig(output, tuner.autoconfig(choices))
    figures = {
        "autoconfig": str(output),
        "device": tuner.device,
        "batch": batch,
        "streams": streams,
        "images_per_second": round(rate, 1),
        "images_per_second_before_exchange": round(tuned.images_per_second_before, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0


def _file_name(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", device.lower().removeprefix("nvidia ")).strip("_")
