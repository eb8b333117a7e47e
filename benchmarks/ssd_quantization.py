"""mAP of a detector in simulated INT8: with and without equalization, and with chosen exceptions.

    python benchmarks/ssd_quantization.py MODEL DATA --output RESULT.csv

MODEL is a detector.pt of `autosinian ssd train`, DATA a Pascal VOC data set (a folder or a tar
archive) with the splits train, val and test. Ranges are collected on train, exceptions chosen on
val, and test is for figures alone. The imbalance multiplies the channels between each pair of
layers by random factors from e^-4 to e^4 and undoes it in the next layer, so that fp32 computes
what it did; INT8 then has the exceptions chosen for the detector as it was. Rows are written as
they are found; when --time is over no further part starts.
"""

import argparse
import csv
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autosinian.detection.checkpoint import Detector, load_detector
from autosinian.detection.device import choose_device
from autosinian.detection.evaluate import Forward, evaluate_split
from autosinian.detection.export import OUTPUT_NAMES
from autosinian.detection.inputs import input_batches
from autosinian.detection.quantization import (
    QuantizationOptions,
    QuantizedDetector,
    choose_on,
    quantize_detector,
)
from autosinian.detection.source import open_annotated
from autosinian.encodings.calibrated import calibrate
from autosinian.encodings.configuration import Configuration, symmetric_configuration
from autosinian.encodings.exceptions import Exceptions, read_exceptions
from autosinian.encodings.export import export_named
from autosinian.encodings.qdq import quantize_onnx
from autosinian.equalize.equalize import folded
from autosinian.equalize.pairs import find_pairs
from autosinian.equalize.scaling import equalize_pairs, scale_pair

SPREAD = 4.0
SEED = 0
FIELDS = (
    "part",
    "model",
    "network",
    "split",
    "images",
    "map",
    "ap50",
    "of_fp32",
    "exceptions",
    "seconds",
    "device",
    "torch",
    "autosinian",
    "date",
)


class Table:
    """Rows of a CSV file, each on disk as soon as it is known."""

    def __init__(self, path: Path, constants: dict[str, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._constants = constants
        self._float: dict[str, float] = {}
        with path.open("w", newline="") as stream:
            csv.DictWriter(stream, FIELDS).writeheader()

    def add(self, part: str, network: str, split: str, figures: dict[str, Any]) -> None:
        """Write a row; `map` of the part `fp32` is what later ones are compared with."""
        if part == "fp32":
            self._float[split] = figures["map"]
        share = figures["map"] / self._float[split] if self._float.get(split) else float("nan")
        row = {"part": part, "network": network, "split": split, "of_fp32": f"{share:.4f}"}
        row |= self._constants | figures
        with self._path.open("a", newline="") as stream:
            csv.DictWriter(stream, FIELDS).writerow(row)
        print(
            f"{part:<12} {network:<28} {split:<5} mAP {figures['map']:6.2f}  {share:7.2%} of fp32",
            flush=True,
        )


class Bench:
    """The parts, and what they share."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = choose_device(args.device)
        self.batch_size: int = args.batch_size
        self.detector: Detector = load_detector(args.model)
        names = self.detector.class_names or None
        self.splits = {
            split: open_annotated(args.data, split=split, class_names=names)
            for split in ("train", "val", "test")
        }
        if args.limit:
            self.splits = {
                key: replace(split, images=split.images[: args.limit])
                for key, split in self.splits.items()
            }
        config = self.detector.network.config
        self.layout = config.layout
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else platform.processor()
        self.table = Table(
            args.output,
            {
                "model": f"width {config.width:g}, {config.image_size} px, {args.data.name}",
                "device": f"{self.device.type} {name or platform.machine()}",
                "torch": torch.__version__,
                "autosinian": version("autosinian"),
                "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            },
        )
        self.exceptions = read_exceptions(args.exceptions) if args.exceptions else Exceptions()
        self._quantized: QuantizedDetector | None = None

    def parts(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What is measured, in order of importance."""
        yield "fp32", self.in_float
        yield "int8", self.int8
        yield "mixed", self.mixed
        yield "imbalance", self.imbalance
        yield "engine", self.engines
        yield "variants", self.variants

    @property
    def quantized(self) -> QuantizedDetector:
        """The detector as `ssd quantize` makes it where no option is given."""
        if self._quantized is None:
            self._quantized = self.quantize(QuantizationOptions())
        return self._quantized

    def quantize(self, options: QuantizationOptions) -> QuantizedDetector:
        """Calibrated on the training split."""
        return quantize_detector(
            self.detector,
            self.splits["train"],
            options,
            device=self.device,
            batch_size=self.batch_size,
        )

    def measure(
        self,
        part: str,
        network: str,
        forward: Forward,
        *splits: str,
        exceptions: str = "",
        device: Any = None,
    ) -> None:
        """Rows of one network over `splits`."""
        for split in splits:
            images = self.splits[split]
            start = time.monotonic()
            figures, _ = evaluate_split(
                forward,
                self.layout,
                images,
                batch_size=self.batch_size,
                device=device or self.device,
            )
            self.table.add(
                part,
                network,
                split,
                {
                    "images": len(images.images),
                    "map": round(figures.mean, 4),
                    "ap50": round(figures.at_50, 4),
                    "exceptions": exceptions,
                    "seconds": round(time.monotonic() - start, 1),
                },
            )

    def in_float(self) -> None:
        """The detector as it was trained."""
        network = self.detector.network.to(self.device).eval()
        self.measure("fp32", "as trained", network, "val", "test")

    def int8(self) -> None:
        """Without exceptions, with equalization and without."""
        self.measure(
            "int8", "equalized", self.simulated(self.quantized, Exceptions()), "val", "test"
        )
        plain = self.quantize(QuantizationOptions(equalize=False))
        self.measure("int8", "not equalized", self.simulated(plain, Exceptions()), "val", "test")

    def imbalance(self) -> None:
        """Factors between pairs that fp32 does not see: INT8 without and with equalization."""
        network = folded(self.detector.network).network.to(self.device)
        pairs = find_pairs(network)
        generator = torch.Generator().manual_seed(SEED)
        for pair in pairs:
            channels = len(network.get_submodule(pair.first).weight)  # type: ignore[arg-type]
            factors = torch.exp((torch.rand(channels, generator=generator) * 2 - 1) * SPREAD)
            scale_pair(network, pair, factors.double().to(self.device))
        self.measure("imbalance", "fp32", network, "test")
        for equalized in (False, True):
            if equalized:
                equalize_pairs(network, pairs, {})
            calibrated = calibrate(network, self.calibration(), symmetric_configuration())
            label = "int8 equalized" if equalized else "int8 not equalized"
            simulated = calibrated.simulated(self.exceptions).to(self.device)
            self.measure("imbalance", label, simulated, "test", exceptions=self.told())

    def mixed(self) -> None:
        """Exceptions chosen on the validation split, measured on the test split."""
        chosen = choose_on(
            self.quantized, self.splits["val"], device=self.device, batch_size=self.batch_size
        )
        for item in chosen.choice.sensitivities[:10]:
            print(f"  {item.kind:<24} {item.name:<30} gain {item.gain:.3g}", flush=True)
        self.exceptions = chosen.choice.exceptions
        self.measure(
            "mixed",
            "equalized, chosen on val",
            self.simulated(self.quantized),
            "val",
            "test",
            exceptions=self.told(),
        )

    def told(self) -> str:
        """The exceptions as they are written into a row."""
        return json.dumps(self.exceptions.to_dict())

    def engines(self) -> None:
        """The same ranges as Q/DQ, on the processor by the runtimes that are installed."""
        side = self.layout.image_size
        network = self.quantized.calibrated.network
        model = export_named(network, (3, side, side), OUTPUT_NAMES)
        encodings = self.quantized.encodings(self.exceptions)
        exceptions = self.told()
        for engine in ("openvino", "tensorrt"):
            content = quantize_onnx(model, encodings, engine=engine).SerializeToString()
            for runtime, opened in (("openvino", _openvino), ("onnxruntime", _onnxruntime)):
                try:
                    forward = opened(content)
                except ImportError:
                    print(f"  {runtime} is not installed", flush=True)
                    continue
                self.measure(
                    "engine",
                    f"Q/DQ for {engine}, {runtime}",
                    forward,
                    "test",
                    exceptions=exceptions,
                    device="cpu",
                )

    def variants(self) -> None:
        """Other configurations, without exceptions."""
        asymmetric = symmetric_configuration()
        defaults = asymmetric.defaults
        asymmetric = asymmetric.model_copy(
            update={
                "defaults": defaults.model_copy(
                    update={
                        "ops": defaults.ops.model_copy(update={"is_symmetric": False}),
                        "params": defaults.params.model_copy(update={"is_symmetric": False}),
                    }
                )
            }
        )
        variants: dict[str, tuple[Configuration, str]] = {
            "asymmetric": (asymmetric, "minmax"),
            "per channel": (symmetric_configuration(per_channel=True), "minmax"),
            "percentile 99.999": (symmetric_configuration(), "percentile"),
            "entropy": (symmetric_configuration(), "entropy"),
        }
        for name, (configuration, method) in variants.items():
            options = QuantizationOptions(configuration=configuration, method=method)
            simulated = self.simulated(self.quantize(options), Exceptions())
            self.measure("variants", name, simulated, "val", "test")

    def simulated(self, quantized: QuantizedDetector, exceptions: Exceptions | None = None) -> Any:
        """Simulated INT8 with the exceptions chosen so far."""
        chosen = self.exceptions if exceptions is None else exceptions
        return quantized.simulated(chosen).to(self.device)

    def calibration(self) -> Iterator[torch.Tensor]:
        """The training split's images, normalized."""
        for batch in input_batches(self.splits["train"], self.layout.image_size, self.batch_size):
            yield torch.from_numpy(batch).to(self.device)


def _openvino(content: bytes) -> Forward:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(content), "CPU", options)

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        results = compiled(images.numpy())
        boxes, scores = (torch.from_numpy(np.array(results[name])) for name in OUTPUT_NAMES)
        return boxes, scores

    return forward


def _onnxruntime(content: bytes) -> Forward:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, scores = session.run(list(OUTPUT_NAMES), {"images": images.numpy()})
        return torch.from_numpy(boxes), torch.from_numpy(scores)

    return forward


def main() -> int:
    """Measure; the table goes to stdout and to the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/ssd_quantization.csv")
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--limit", type=int, help="images of each split at most, for a dry run")
    parser.add_argument("--parts", nargs="+", help="of these names alone; fp32 always")
    parser.add_argument("--exceptions", type=Path, help="known already, JSON: leave out `mixed`")
    parser.add_argument("--time", type=float, default=600.0, help="seconds after which none starts")
    args = parser.parse_args()
    bench = Bench(args)
    start = time.monotonic()
    failed = 0
    for name, part in bench.parts():
        if args.parts and name not in (*args.parts, "fp32"):
            continue
        if time.monotonic() - start > args.time:
            print(f"{name}: skipped, the time is over", flush=True)
            continue
        try:
            part()
        except Exception as error:  # noqa: BLE001  (one part must not lose the others)
            failed += 1
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
