"""The accuracy of a fine-tuned folder of integers on its data, by the processor's integers alone.

    python benchmarks/int4_accuracy.py MODEL --data-path CIFAR10.tar.xz --output RESULTS.csv

MODEL is a folder that `autosinian int4 finetune` wrote. The images are those of the split that
gave final figures there; nothing of it is computed in float.
"""

import argparse
import csv
import datetime
import time
from pathlib import Path

import numpy as np
import torch

from autosinian.engine.processor import processor_name
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.finetune.emulation import correct_share
from autosinian.int4.finetune.images import open_images
from autosinian.int4.model_reader import read_model

BATCH = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-path", type=Path)
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--limit", type=int, help="so many images at most")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    network = read_model(arguments.model)
    data = open_images(
        arguments.data, arguments.data_path, arguments.resolution, torch.device("cpu"), None
    )
    images, labels = data.int8_images(data.validation)
    images, labels = images[: arguments.limit], labels[: arguments.limit]
    executor = CpuExecutor(network)
    start = time.monotonic()
    try:
        parts = [executor.logits(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    finally:
        executor.close()
    row = {
        "model": arguments.model.name,
        "data": arguments.data,
        "resolution": arguments.resolution,
        "images": len(images),
        "accuracy_validation": round(correct_share(network, np.concatenate(parts), labels), 5),
        "images_per_second": round(len(images) / (time.monotonic() - start), 1),
        "device": processor_name(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    print(" ".join(f"{name}={value}" for name, value in row.items()))
    if arguments.output:
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
