"""INT4 ResNet-50 on a GPU: exactness of every configuration, tuning, speed, time by layer.

    python benchmarks/int4_resnet50.py MODEL --output DIR [--images IMAGES.npy] [--time 240]

MODEL is the folder of a network (or a tar archive with a folder `model`). Steps, each written to
DIR as soon as it is known, and none lost by a failure of another:

1. `device.json`: GPU, driver, versions.
2. `exactness.csv`: every configuration that tuning measures, on every layer shape, against float64
   (exact for integers of this size), on random activations, partial tiles included; and the whole
   network's logits against the CPU reference.
3. `layers_<batch>.csv`: seconds of every (shape, configuration), the slow ones stopped early;
   `choices_<batch>.json`: best configuration by layer, then after joint exchange.
4. `profile_<batch>.csv`: time of each launch against its floor (memory and tensor cores).
5. `network.csv`: images/s at each batch; `single_<batch>.csv`: with one configuration for all
   layers.
"""

import argparse
import csv
import datetime
import json
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autosinian.int4.configurations import (
    Configuration,
    configuration,
    configurations,
    refusal,
)
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.gpu.compiling import Compiler
from autosinian.int4.gpu.device import open_device
from autosinian.int4.gpu.executor import Executor, PreparedNetwork
from autosinian.int4.gpu.expected import expected, same
from autosinian.int4.gpu.launch import compile_task
from autosinian.int4.gpu.plan import IMAGE, Plan, plan
from autosinian.int4.gpu.timing import (
    GpuLayerTimer,
    fill_randomly,
    network_seconds,
    timed_graph,
)
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.model_reader import read_model
from autosinian.int4.network import Network
from autosinian.int4.tuning import (
    Ranking,
    best_choices,
    exchange_jointly,
    rank_layers,
)

BYTES_PER_SECOND = 3.0e12
MULTIPLY_ADDS_PER_SECOND = 1979e12 / 2
CHECKED_IMAGES = 3
COMPARED_IMAGES = 20
EXCHANGED = 3


def main() -> None:
    """Run what the time allows and print a short table last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="int8 N x 3 x 224 x 224 (.npy); else random")
    parser.add_argument("--time", type=float, default=240.0, help="seconds in all")
    parser.add_argument("--tuned-batches", type=int, nargs="+", default=[256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64, 128, 256, 1024])
    parser.add_argument("--processes", type=int, help="for compiling; default one a core")
    parser.add_argument("--known", type=Path, help="layers CSV of earlier runs: not measured again")
    parser.add_argument("--choices", type=Path, help="choices_<batch>.json of an earlier run")
    arguments = parser.parse_args()
    benchmark = Benchmark(arguments)
    benchmark.run()


class Benchmark:
    """State shared by the steps."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.end = time.monotonic() + arguments.time
        self.begin = time.monotonic()
        self.output: Path = arguments.output
        self.output.mkdir(parents=True, exist_ok=True)
        self.summary: list[str] = []
        self.network = read(arguments.model)
        self.plan: Plan = plan(self.network)
        self.device = open_device()
        self.about = self.device.versions() | {"date": datetime.date.today().isoformat()}
        (self.output / "device.json").write_text(json.dumps(self.about, indent=1))
        self.prepared = PreparedNetwork(self.plan, self.device)
        self.layers = {layer.name: layer.shape for layer in self.plan.convolutions()}
        self.batch: int = arguments.tuned_batches[0]
        self.all_choices: dict[int, dict[str, Configuration]] = {}
        self.rankings: dict[int, Ranking] = {}
        self.compiler: Compiler | None = None

    @property
    def choices(self) -> dict[str, Configuration]:
        """Those tuned at the batch size in hand; none before."""
        return self.all_choices.get(self.batch, {})

    def left(self) -> float:
        """Seconds of the budget that remain."""
        return float(self.end - time.monotonic())

    def log(self, text: str) -> None:
        """Progress with the time, on stderr."""
        print(f"[{time.monotonic() - self.begin:6.1f} s] {text}", file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        """A line of the table that is printed last, and at once for who cannot wait."""
        self.summary.append(text)
        self.log(text)

    def step(self, name: str, action: Any) -> None:
        """Run a step; a failure is told and the next step goes on."""
        self.log(name)
        try:
            action()
        except Exception:  # noqa: BLE001  (one failed step must not lose the others' figures)
            self.tell(f"{name} FAILED: {traceback.format_exc(limit=-3)}")

    def run(self) -> None:
        """All steps."""
        self.compiler = compiler = (
            None if self.device.interpreted else Compiler(self.arguments.processes)
        )
        try:
            self.step("whole network against the CPU reference", self.compare_network)
            if self.arguments.choices is not None:
                ids = json.loads(self.arguments.choices.read_text())["joint"]
                self.all_choices[self.batch] = {
                    name: configuration(number) for name, number in ids.items()
                }
            elif not self.device.interpreted:
                for batch in self.arguments.tuned_batches:
                    self.batch = batch
                    self.step(f"tuning layers at batch {batch}", self.tune_layers)
                    self.step("joint exchange", self.tune_jointly)
                    self.step("time by layer", self.profile)
                self.batch = self.arguments.tuned_batches[0]
            if not self.device.interpreted:
                self.step("speed by batch", self.speed)
                self.step("whole network, tuned, against the CPU", self.compare_network)
                self.step("overlapping launches", self.compare_overlapping)
            self.step("exactness of configurations", self.check_layers)
            if not self.device.interpreted:
                self.step("best single configuration", self.best_single)
        except KeyboardInterrupt:
            self.log("interrupted")
        finally:
            if compiler is not None:
                compiler.close()
        print("\n".join(self.summary))

    def executor(self, batch: int, choices: Mapping[str, Configuration]) -> Executor:
        """An executor whose kernels have been compiled in parallel."""
        made = Executor(self.prepared, batch, choices)
        if self.compiler is not None:
            tasks = {
                compile_task(
                    layer, made.choices[layer.name], self.device, self.plan.follower(layer)
                ): None
                for layer in self.plan.convolutions()
            }
            self.compiler.compile(list(tasks))
        made.input.random_(-127, 128)
        return made

    def compare_network(self) -> None:
        """Logits of real or random images against the CPU reference."""
        count = 1 if self.device.interpreted else COMPARED_IMAGES
        if self.arguments.images is not None:
            images = np.ascontiguousarray(np.load(self.arguments.images)[:count])
        else:
            random = np.random.default_rng(0)
            images = random.integers(-127, 128, (count, *self.network.input_shape), np.int8)
        wanted = CpuExecutor(self.network).logits(images)
        got = self.executor(min(8, count), self.choices).logits(images)
        equal = int((got == wanted).all(1).sum())
        self.tell(f"logits of {equal} of {count} images equal the CPU reference bit for bit")

    def tune_layers(self) -> None:
        """Rank configurations for each shape."""
        batch = self.batch
        timer = GpuLayerTimer(Executor(self.prepared, batch), self.compiler)
        known = KnownTimes(timer, self.arguments.known, batch, self.about)
        ranking = rank_layers(
            list(self.layers.values()),
            batch,
            self.device.shared_bytes,
            known,
            self.left() * 0.6,
            lambda number, done, total: (
                self.log(f"round {number}: {done} of {total}") if done % 50 == 0 else None
            ),
        )
        self.rankings[batch] = ranking
        self.all_choices[batch] = best_choices(self.layers, ranking)
        rows = [
            {
                "shape": shape.text,
                "out_bits": shape.out_bits,
                "batch": batch,
                "id": entry.configuration.id,
                "tile": f"{entry.configuration.pixels}x{entry.configuration.channels}",
                "warps": entry.configuration.warps,
                "step_bytes": entry.configuration.step_bytes,
                "stages": entry.configuration.stages,
                "packed_weights": entry.configuration.packed_weights,
                "persistent": entry.configuration.persistent,
                "residual_first": entry.configuration.residual_first,
                "stationary": entry.configuration.stationary,
                "chained": entry.configuration.chained,
                "near": entry.configuration.near,
                "microseconds": round(entry.seconds * 1e6, 2),
                "floor_microseconds": round(floor_seconds(shape, batch) * 1e6, 2),
            }
            for shape, entries in ranking.items()
            for entry in entries
        ]
        write(self.output / f"layers_{batch}.csv", rows, self.about)
        failures = [
            {"shape": shape.text, "id": identity, "reason": reason}
            for (shape, identity), reason in timer.failures.items()
        ]
        write(self.output / f"failures_{batch}.csv", failures, self.about)
        self.write_choices({"best": self.choices})
        self.tell(f"tuning at batch {batch}: {len(rows)} measured, {len(failures)} failed")

    def write_choices(self, choices: Mapping[str, Mapping[str, Configuration]]) -> None:
        """Ids by layer, so that a later run can start from them."""
        path = self.output / f"choices_{self.batch}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        for label, chosen in choices.items():
            known[label] = {name: choice.id for name, choice in chosen.items()}
        path.write_text(json.dumps(known | {"about": self.about}, indent=1))

    def tune_jointly(self) -> None:
        """Exchange configurations in the whole network."""
        batch = self.batch
        if self.compiler is not None:
            layers = {layer.shape: layer for layer in self.plan.convolutions()}
            self.compiler.compile(
                [
                    compile_task(
                        layers[shape],
                        entry.configuration,
                        self.device,
                        self.plan.follower(layers[shape]),
                    )
                    for shape, entries in self.rankings[batch].items()
                    for entry in entries[:EXCHANGED]
                ]
            )
        before = network_seconds(self.executor(batch, self.choices))
        self.all_choices[batch], spent = exchange_jointly(
            self.layers,
            self.rankings[batch],
            lambda choices: network_seconds(self.executor(batch, choices)),
            top=EXCHANGED,
            time_limit_s=min(20.0, self.left() * 0.4),
        )
        self.write_choices({"joint": self.choices})
        self.tell(
            f"joint exchange at batch {batch}: {batch / before:.0f} -> {batch / spent:.0f} images/s"
        )

    def profile(self) -> None:
        """Each launch by itself against its floor."""
        batch = self.batch
        executor = self.executor(batch, self.choices)
        fill_randomly(executor, 1)
        whole = network_seconds(executor)
        rows: list[dict[str, Any]] = []
        for name, run, floor in self.launches(executor, batch):
            spent = timed_graph(run)
            rows.append(
                {
                    "launch": name,
                    "id": self.choices[name].id if name in self.choices else "",
                    "microseconds": round(spent * 1e6, 2),
                    "floor_microseconds": round(floor * 1e6, 2),
                    "times_floor": round(spent / floor, 2),
                    "above_floor_microseconds": round((spent - floor) * 1e6, 2),
                }
            )
        write(self.output / f"profile_{batch}.csv", rows, self.about | {"batch": batch})
        total = sum(row["microseconds"] for row in rows)
        floors = sum(row["floor_microseconds"] for row in rows)
        self.tell(
            f"batch {batch}: graph {whole * 1e6:.0f} us ({batch / whole:.0f} images/s), launches "
            f"alone {total:.0f} us, floors {floors:.0f} us; furthest from the floor:"
        )
        rows.sort(key=lambda row: -row["above_floor_microseconds"])
        for row in rows[:12]:
            shape = self.layers.get(row["launch"])
            self.tell(
                f"  {row['launch']:30s} {row['id']!s:5s} {row['microseconds']:8.1f} us, "
                f"{row['times_floor']:5.2f} x floor  {shape.text if shape else ''}"
            )

    def launches(self, executor: Executor, batch: int) -> Iterable[tuple[str, Any, float]]:
        """Name, action and floor seconds of every launch of the network."""
        arranged, first = self.plan.arranged, self.plan.stem[-1].shape
        pixels = arranged.channels * arranged.height * arranged.width
        yield (
            "arrange_images",
            executor.run_image,
            batch * (pixels + arranged.image_bytes()) / BYTES_PER_SECOND,
        )
        pooled = self.plan.pooled[0] * self.plan.pooled[1]
        moved = (first.out_pixels + pooled) * first.out_channels * first.out_bits // 8
        for layer in self.plan.stem:
            yield (
                layer.name,
                lambda layer=layer: executor.run_layer(layer),
                floor_seconds(layer.shape, batch),
            )
        yield "max_pool", executor.run_max_pool, batch * moved / BYTES_PER_SECOND
        for layer in executor.launched():
            floor = floor_seconds(layer.shape, batch)
            if executor.choices[layer.name].chained and layer.shape.follower is not None:
                floor += floor_seconds(layer.shape.follower, batch)
            yield layer.name, lambda layer=layer: executor.run_layer(layer), floor
        last = self.plan.layers[-1].shape
        moved = last.out_pixels * last.out_channels * batch + self.network.linear.weight.size
        yield "head", executor.run_head, moved / BYTES_PER_SECOND

    def speed(self) -> None:
        """Images/s of the graph at each batch: as tuned at the nearest batch, and untuned."""
        rows = []
        for batch in self.arguments.batches:
            tuned_at = min(self.all_choices, key=lambda tuned: abs(np.log(tuned / batch)))
            spent = network_seconds(self.executor(batch, self.all_choices[tuned_at]))
            default = network_seconds(self.executor(batch, {}))
            rows.append(
                {
                    "batch": batch,
                    "tuned_at": tuned_at,
                    "tuned_images_per_second": round(batch / spent),
                    "tuned_milliseconds": round(spent * 1e3, 4),
                    "default_images_per_second": round(batch / default),
                }
            )
            self.tell(
                f"batch {batch:5d}: {batch / spent:9.0f} images/s (tuned at {tuned_at}), default "
                f"{batch / default:.0f}"
            )
            write(self.output / "network.csv", rows, self.about)

    def compare_overlapping(self) -> None:
        """The tuned network with launches that overlap and without, side by side."""
        device = self.device
        for batch in self.arguments.batches:
            rates, outputs = [], []
            for overlapping in (False, True):
                self.device = replace(device, overlapping=overlapping)
                self.prepared.device = self.device
                executor = self.executor(batch, self.choices)
                generator = torch.Generator(executor.input.device).manual_seed(batch)
                executor.input.random_(-127, 128, generator=generator)
                rates.append(batch / network_seconds(executor))
                outputs.append(executor.output.clone())
                torch.cuda.synchronize()
            self.device = self.prepared.device = device
            self.tell(
                f"batch {batch:5d}: overlapping launches {rates[1]:.0f} against {rates[0]:.0f} "
                f"images/s, {'equal' if torch.equal(*outputs) else 'DIFFERENT'} logits"
            )

    def best_single(self) -> None:
        """The whole network with one configuration for all layers, each that fits them all."""
        rows = []
        tuned = self.batch / network_seconds(self.executor(self.batch, self.choices))
        for choice in configurations().values():
            plain = replace(choice, id=0) == Configuration(
                0, choice.pixels, choice.channels, choice.warps, choice.step_bytes, choice.stages
            )
            if not plain or self.left() < 0:
                continue
            limit = self.device.shared_bytes
            if any(refusal(choice, shape, limit) for shape in self.layers.values()):
                continue
            spent = network_seconds(self.executor(self.batch, dict.fromkeys(self.layers, choice)))
            rows.append({"id": choice.id, "images_per_second": round(self.batch / spent)})
            write(self.output / f"single_{self.batch}.csv", rows, self.about)
        best = max(rows, key=lambda row: row["images_per_second"])
        self.tell(
            f"best of {len(rows)} single configurations for all layers at batch {self.batch}: "
            f"{best['id']} with {best['images_per_second']} images/s; tuned {tuned:.0f}, "
            f"{tuned / best['images_per_second']:.2f} times that"
        )

    def check_layers(self) -> None:
        """Every measured configuration of every shape against float64."""
        images = 1 if self.device.interpreted else CHECKED_IMAGES
        executor = Executor(self.prepared, images)
        fill_randomly(executor, 2)
        rows = []
        done: set[LayerShape] = set()
        wrong = 0
        for layer in self.plan.convolutions():
            if layer.shape in done or self.left() < 0:
                continue
            done.add(layer.shape)
            stem = layer.name.startswith("stem")
            source = executor.source(layer.reads, stem)
            added = None if layer.adds is None else executor.source(layer.adds, stem)
            generator = torch.Generator(source.device).manual_seed(len(done))
            for tensor, bits in ((source, layer.shape.bits), (added, layer.shape.residual)):
                if tensor is not None and layer.reads != IMAGE:
                    most = 256 if getattr(bits, "bits", bits) == 4 else 128
                    tensor.random_(0, most, generator=generator)
            wanted = expected(layer, self.plan.arranged, source, added, images)
            chosen = {
                entry.configuration: None
                for ranking in self.rankings.values()
                for entry in ranking[layer.shape]
            }
            for choice in chosen or {executor.choices[layer.name]: None}:
                executor.layer_output(layer).fill_(0xA5)
                after = self.plan.follower(layer) if choice.chained else None
                if after is not None:
                    executor.layer_output(after).fill_(0xA5)
                executor.run_layer(layer, choice)
                right = same(layer, executor.layer_output(layer), wanted)
                if after is not None:
                    then = expected(
                        after, self.plan.arranged, executor.layer_output(layer), None, images
                    )
                    right = right and same(after, executor.layer_output(after), then)
                wrong += not right
                rows.append({"shape": layer.shape.text, "id": choice.id, "exact": right})
        write(self.output / "exactness.csv", rows, self.about)
        self.tell(
            f"exactness: {len(rows) - wrong} of {len(rows)} (shape, id) pairs equal float64, "
            f"{len(done)} of {len(set(self.layers.values()))} shapes"
        )


class KnownTimes:
    """A `LayerTimer` that takes what an earlier run measured with the same GPU and versions."""

    def __init__(
        self, timer: GpuLayerTimer, path: Path | None, batch: int, about: Mapping[str, str]
    ) -> None:
        self._timer = timer
        self._known: dict[tuple[str, str, int], float] = {}
        if path is not None:
            with path.open(newline="") as stream:
                for row in csv.DictReader(stream):
                    same_gpu = all(
                        row[name] == about[name] for name in ("device", "driver", "torch", "triton")
                    )
                    # A chained time is less the follower's: not what a launch takes.
                    measured = row.get("chained") != "True"
                    if int(row["batch"]) == batch and same_gpu and measured:
                        key = row["shape"], row["out_bits"], int(row["id"])
                        self._known[key] = float(row["microseconds"]) * 1e-6

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        """Compile what is not known."""
        self._timer.prepare(
            [
                (shape, choice)
                for shape, choice in wanted
                if (shape.text, str(shape.out_bits), choice.id) not in self._known
            ]
        )

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        """From the record or measured."""
        key = shape.text, str(shape.out_bits), configuration.id
        if key in self._known:
            return self._known[key]
        return self._timer.seconds(shape, configuration, stop_above)


def floor_seconds(shape: LayerShape, batch: int) -> float:
    """The larger of memory time (each byte once) and tensor-core time."""
    moved = batch * shape.activation_bytes + shape.weight_bytes
    return max(moved / BYTES_PER_SECOND, batch * shape.multiply_adds / MULTIPLY_ADDS_PER_SECOND)


def read(path: Path) -> Network:
    """The network in a folder, or in the folder `model` of a tar archive."""
    if path.is_dir():
        return read_model(path)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
        return read_model(Path(folder) / "model")


def write(path: Path, rows: list[dict[str, Any]], about: Mapping[str, Any]) -> None:
    """A CSV with the environment in every row."""
    if not rows:
        return
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], *about])
        writer.writeheader()
        writer.writerows(row | dict(about) for row in rows)


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = False
    main()
