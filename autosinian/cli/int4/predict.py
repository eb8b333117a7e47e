"""`autosinian int4 predict`: exact integer logits of images."""

import argparse
import json
import sys
import time
from pathlib import Path

EPILOG = """\
X.npy holds int8 images, N x 3 x H x W, as `autosinian int4 preprocess` makes them; OUT.npy gets
int32, N x classes: the fully connected layer before scaling. Every device gives the same bits.
With `--labels` (int64, N) the share of labels that had the largest scaled logit is told too.

examples:
  autosinian int4 predict model --inputs arrays/inputs.npy --logits logits.npy
  autosinian int4 predict model --inputs arrays/inputs.npy --labels arrays/labels.npy
  autosinian int4 predict model --inputs x.npy --logits y.npy --device cuda --autoconfig FILE
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "predict",
        help="exact logits of images, and their accuracy",
        description="Run a network of integers on images.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="the network's folder")
    parser.add_argument("--inputs", type=Path, required=True, metavar="X.npy", help="int8 images")
    parser.add_argument("--logits", type=Path, metavar="OUT.npy", help="where int32 logits go")
    parser.add_argument("--labels", type=Path, metavar="Y.npy", help="compare with these labels")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--autoconfig", type=Path, metavar="FILE", help="kernels of a GPU's layers")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the logits; figures go to stdout."""
    import numpy as np

    from autosinian.content import atomic_file
    from autosinian.errors import InputError
    from autosinian.int4.devices import open_executor
    from autosinian.int4.images import read_array, read_labels
    from autosinian.int4.model_reader import read_model
    from autosinian.int4.predict import all_logits, top1

    if arguments.logits is None and arguments.labels is None:
        raise InputError("`--logits` or `--labels` must be given, else nothing comes of it")
    network = read_model(arguments.model)
    images = read_array(arguments.inputs)
    labels = None if arguments.labels is None else read_labels(arguments.labels)
    executor = open_executor(network, arguments.device, arguments.autoconfig)
    start = time.perf_counter()
    logits = all_logits(executor, images)
    seconds = time.perf_counter() - start
    figures: dict[str, float | int | str] = {
        "images": len(images),
        "device": arguments.device,
        "images_per_second": round(len(images) / seconds, 2),
    }
    if labels is not None:
        found = top1(network, logits, labels)
        figures |= {"correct": found.correct, "top1": found.accuracy}
    if arguments.logits is not None:
        with atomic_file(arguments.logits) as temporary, temporary.open("wb") as stream:
            np.save(stream, logits)
        figures["logits"] = str(arguments.logits)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(f"{len(images)} images at {figures['images_per_second']} images/s", file=sys.stderr)
    if labels is not None:
        print(f"top-1 {100 * found.accuracy:.2f} % ({found.correct} of {found.samples})")
    if arguments.logits is not None:
        print(f"logits {' x '.join(map(str, logits.shape))} int32 in `{arguments.logits}`")
    return 0
