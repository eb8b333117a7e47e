"""INT4 ResNet-50 on a GPU: exactness of every configuration, tuning, speed, time by layer.

    python benchmarks/int4_resnet50.py MODEL --output DIR [--known LAYERS.csv] [--time 240]

MODEL is the folder of a network (or a tar archive with a folder `model`). Steps, each written to
DIR as soon as it is known, none begun after `--time`, none lost by a failure of another:

* `reference`: logits of the whole network with default kernels against the CPU reference.
* `tune`, for each of `--tuned-batches`: `layers_<batch>.csv` (seconds of every shape and
  configuration, the slow ones stopped early), `choices_<batch>.json` (best configuration by layer,
  then after joint exchange), `autoconfig_<batch>`, `profile_<batch>.csv` (each launch against its
  floor in memory traffic and tensor cores), and `known_kernels.csv`, the package's table with
  these.
* `speed`: `network.csv`, images/s at each of `--batches`, as tuned at the nearest batch and as the
  rule chooses.
* `exact`: logits of the tuned network against the CPU reference.
* `overlapping`: `overlapping.csv`, launches that overlap and that do not, side by side.
* `single`: `single_<batch>.csv`, the best configurations for all layers alike against the tuned.
* `configurations`: `exactness.csv`, every configuration that was ranked, on its layer shape,
  against float64 (exact for integers of this size), on random activations.
"""

import argparse
import datetime
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autosinian.int4.autoconfig import write_autoconfig
from autosinian.int4.configurations import Configuration, configuration
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.gpu.chosen import as_autoconfig
from autosinian.int4.gpu.compiling import Compiler
from autosinian.int4.gpu.device import Device, open_device
from autosinian.int4.gpu.executor import Executor, PreparedNetwork
from autosinian.int4.gpu.expected import expected, same
from autosinian.int4.gpu.launch import compile_task, kernels_version
from autosinian.int4.gpu.plan import IMAGE, Layer, Plan, plan
from autosinian.int4.gpu.timing import GpuLayerTimer, fill_randomly, network_seconds, timed_graph
from autosinian.int4.known_kernels import known_rows
from autosinian.int4.promising import default_configuration
from autosinian.int4.tuning import (
    Ranking,
    best_choices,
    exchange_jointly,
    rank_layers,
    single_configurations,
)
from int4_kept import (
    BYTES_PER_SECOND,
    KnownTimes,
    floor_seconds,
    key,
    read,
    write,
    write_known_kernels,
)

if TYPE_CHECKING:
    from autosinian.int4.layer_shape import LayerShape

STEPS = ("reference", "tune", "speed", "exact", "overlapping", "single", "configurations")
CHECKED_IMAGES = 3
COMPARED_IMAGES = 20
EXCHANGED = 3
SINGLES = 3
RANKING_SHARE = 0.65
FIRST_BATCH_SHARE = 1.7
JOINT_SECONDS = 20.0
AFTER_TUNING_SECONDS = 40.0
PART = 48

Choices = Mapping[str, Configuration]


def main() -> None:
    """Run what the time allows and print a short table last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="int8 N x 3 x 224 x 224 (.npy); else random")
    parser.add_argument("--time", type=float, default=240.0, help="seconds in all")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--tuned-batches", type=int, nargs="+", default=[1024, 1, 8, 64, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64, 256, 512, 1024, 2048])
    parser.add_argument("--processes", type=int, help="for compiling; default one a core")
    parser.add_argument(
        "--known", type=Path, nargs="+", default=[], help="layers CSVs of earlier runs"
    )
    parser.add_argument(
        "--choices", type=Path, help="DIR of an earlier run: tuned there, not again"
    )
    arguments = parser.parse_args()
    Benchmark(arguments).run()


class Benchmark:
    """State shared by the steps."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.begin = time.monotonic()
        self.end = self.begin + arguments.time
        self.output: Path = arguments.output
        self.output.mkdir(parents=True, exist_ok=True)
        self.summary: list[str] = []
        self.network = read(arguments.model)
        self.plan: Plan = plan(self.network)
        self.device: Device = open_device()
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        self.about = self.device.versions() | {"kernels": kernels_version(), "date": today}
        (self.output / "device.json").write_text(json.dumps(self.about, indent=1))
        self.prepared = PreparedNetwork(self.plan, self.device)
        self.layers = {layer.name: layer.shape for layer in self.plan.convolutions()}
        self.choices: dict[int, Choices] = {}
        self.rankings: dict[int, Ranking] = {}
        self.wanted: dict[LayerShape, torch.Tensor] = {}
        self.compiler = None if self.device.interpreted else Compiler(arguments.processes)

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

    def step(self, name: str, action: Callable[[], None]) -> None:
        """Run a step; a failure is told and the next step goes on."""
        if self.left() <= 0:
            self.tell(f"{name}: no time left")
            return
        self.log(name)
        try:
            action()
        except Exception:  # noqa: BLE001  (one failed step must not lose the others' figures)
            self.tell(f"{name} FAILED: {traceback.format_exc(limit=-3)}")

    def run(self) -> None:
        """All steps that were asked for; without a GPU those that a processor can interpret."""
        steps = set(self.arguments.steps)
        if self.device.interpreted:
            steps &= {"reference", "configurations"}
        try:
            if "reference" in steps:
                self.step("default kernels against the CPU", partial(self.compare_network, 8))
            for batch in self.arguments.tuned_batches if not self.device.interpreted else ():
                if self.arguments.choices is not None and self.read_choices(batch):
                    continue
                if "tune" in steps:
                    self.step(f"tuning layers at batch {batch}", partial(self.tune_layers, batch))
                    self.step(f"joint exchange at {batch}", partial(self.tune_jointly, batch))
                    self.step(f"time by layer at {batch}", partial(self.profile, batch))
            if "speed" in steps:
                self.step("speed by batch", self.speed)
            if "exact" in steps:
                for batch in sorted(self.choices):
                    self.step("tuned against the CPU", partial(self.compare_network, batch))
            if "overlapping" in steps:
                self.step("overlapping launches", self.compare_overlapping)
            if "single" in steps:
                self.step("best single configuration", self.best_single)
            if "configurations" in steps:
                self.step("exactness of configurations", self.check_layers)
        except KeyboardInterrupt:
            self.log("interrupted")
        finally:
            if self.compiler is not None:
                self.compiler.close()
        print("\n".join(self.summary))

    def read_choices(self, batch: int) -> bool:
        """What an earlier run chose at `batch`, if it did."""
        path: Path = self.arguments.choices / f"choices_{batch}.json"
        if not path.is_file():
            return False
        known = json.loads(path.read_text())
        ids = known.get("joint", known["best"])
        self.choices[batch] = {name: configuration(number) for name, number in ids.items()}
        return True

    def executor(self, batch: int, choices: Choices) -> Executor:
        """An executor whose kernels have been compiled in parallel."""
        made = Executor(self.prepared, batch, choices)
        if self.compiler is not None:
            self.compiler.compile(made.compile_tasks())
        made.input.random_(-127, 128)
        return made

    def tuned_at(self, batch: int) -> int | None:
        """The tuned batch nearest to `batch`; None where nothing was tuned."""
        return min(
            self.choices, key=lambda tuned: (abs(math.log(tuned / batch)), tuned), default=None
        )

    def tuned(self, batch: int) -> Choices:
        """As tuned at the nearest batch; what the package knows where nothing was."""
        tuned_at = self.tuned_at(batch)
        return {} if tuned_at is None else self.choices[tuned_at]

    def by_rule(self, batch: int) -> Choices:
        """What runs where nothing is known of a GPU."""
        limit = self.device.shared_bytes
        return {
            name: default_configuration(shape, batch, limit) for name, shape in self.layers.items()
        }

    def compare_network(self, batch: int) -> None:
        """Logits of real or random images against the CPU reference."""
        count = 1 if self.device.interpreted else COMPARED_IMAGES
        if self.arguments.images is not None:
            images = np.ascontiguousarray(np.load(self.arguments.images)[:count])
        else:
            random = np.random.default_rng(0)
            images = random.integers(-127, 128, (count, *self.network.input_shape), np.int8)
        wanted = CpuExecutor(self.network).logits(images)
        got = self.executor(min(batch, count), self.tuned(batch)).logits(images)
        equal = int((got == wanted).all(1).sum())
        label = "as tuned at" if self.choices else "default at"
        self.tell(f"{label} {batch}: logits of {equal} of {count} images equal the CPU reference")

    def tune_layers(self, batch: int) -> None:
        """Rank configurations for each shape."""
        batches = self.arguments.tuned_batches
        waiting = len(batches) - batches.index(batch)
        share = max(self.left() - AFTER_TUNING_SECONDS, 0.5 * self.left()) / waiting
        if batch == batches[0]:
            share *= FIRST_BATCH_SHARE
        timer = GpuLayerTimer(Executor(self.prepared, batch), self.compiler)
        known = KnownTimes(timer, self.arguments.known, batch, self.about)
        before = len(known.known)
        ranking = rank_layers(
            list(self.layers.values()),
            batch,
            self.device.shared_bytes,
            known,
            share * RANKING_SHARE,
            lambda number, done, total: (
                self.log(f"round {number}: {done} of {total}") if done % 50 == 0 else None
            ),
        )
        self.rankings[batch] = ranking
        self.choices[batch] = best_choices(self.layers, ranking)
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
                "launch_microseconds": round(known.known[key(shape, entry.configuration)] * 1e6, 2),
                "floor_microseconds": round(floor_seconds(shape, batch) * 1e6, 2),
                "launches": known.launches[key(shape, entry.configuration)],
            }
            for shape, entries in ranking.items()
            for entry in entries
        ]
        about = {name: value for name, value in self.about.items() if name != "launches"}
        write(self.output / f"layers_{batch}.csv", rows, about)
        failures = [
            {"shape": shape.text, "id": identity, "reason": reason}
            for (shape, identity), reason in timer.failures.items()
        ]
        write(self.output / f"failures_{batch}.csv", failures, self.about)
        self.write_choices(batch, "best")
        self.tell(
            f"tuning at batch {batch}: {len(rows)} ranked, {len(known.known) - before} measured "
            f"now, {len(failures)} failed"
        )

    def write_choices(self, batch: int, label: str) -> None:
        """Ids by layer in every form, so that a later run can start from them."""
        choices = self.choices[batch]
        path = self.output / f"choices_{batch}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        known[label] = {name: choice.id for name, choice in choices.items()}
        path.write_text(json.dumps(known | {"about": self.about}, indent=1))
        write_autoconfig(
            self.output / f"autoconfig_{batch}",
            as_autoconfig(self.plan, Executor(self.prepared, 1, choices).choices),
        )
        rows = [
            row
            for tuned, chosen in self.choices.items()
            for row in known_rows(self.layers, chosen, tuned, self.device.name)
        ]
        write_known_kernels(self.output / "known_kernels.csv", rows)

    def tune_jointly(self, batch: int) -> None:
        """Exchange configurations in the whole network."""
        layers = {layer.shape: layer for layer in self.plan.convolutions()}
        self.compile(
            (layers[shape], entry.configuration)
            for shape, entries in self.rankings[batch].items()
            for entry in entries[:EXCHANGED]
        )
        before = network_seconds(self.executor(batch, self.choices[batch]))
        self.choices[batch], spent = exchange_jointly(
            self.layers,
            self.rankings[batch],
            lambda choices: network_seconds(self.executor(batch, choices)),
            top=EXCHANGED,
            time_limit_s=min(JOINT_SECONDS, self.left() * 0.4),
        )
        self.write_choices(batch, "joint")
        self.tell(
            f"joint exchange at batch {batch}: {batch / before:.0f} -> {batch / spent:.0f} images/s"
        )

    def compile(self, pairs: Iterable[tuple[Layer, Configuration]]) -> None:
        """Compile layers' kernels in parallel."""
        if self.compiler is not None:
            self.compiler.compile(
                [
                    compile_task(
                        layer,
                        choice,
                        self.device,
                        self.plan.follower(layer) if choice.chained else None,
                    )
                    for layer, choice in pairs
                ]
            )

    def profile(self, batch: int) -> None:
        """Each launch by itself against its floor."""
        executor = self.executor(batch, self.choices[batch])
        fill_randomly(executor, 1)
        whole = network_seconds(executor)
        rows: list[dict[str, Any]] = []
        for name, run, floor in self.launches(executor, batch):
            spent = timed_graph(run, 8 if batch > 16 else 32)
            rows.append(
                {
                    "launch": name,
                    "id": executor.choices[name].id if name in executor.choices else "",
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
        for row in rows[:8]:
            shape = self.layers.get(row["launch"])
            self.tell(
                f"  {row['launch']:30s} {row['id']!s:5s} {row['microseconds']:8.1f} us, "
                f"{row['times_floor']:5.2f} x floor  {shape.text if shape else ''}"
            )

    def launches(
        self, executor: Executor, batch: int
    ) -> Iterable[tuple[str, Callable[[], None], float]]:
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
            yield layer.name, partial(executor.run_layer, layer), floor_seconds(layer.shape, batch)
        yield "max_pool", executor.run_max_pool, batch * moved / BYTES_PER_SECOND
        for layer in executor.launched():
            floor = floor_seconds(layer.shape, batch)
            if executor.choices[layer.name].chained and layer.shape.follower is not None:
                floor += floor_seconds(layer.shape.follower, batch)
            yield layer.name, partial(executor.run_layer, layer), floor
        last = self.plan.layers[-1].shape
        moved = last.out_pixels * last.out_channels * batch + self.network.linear.weight.size
        yield "head", executor.run_head, moved / BYTES_PER_SECOND

    def speed(self) -> None:
        """Images/s of the graph at each batch: as tuned at the nearest batch, and by the rule."""
        rows: list[dict[str, Any]] = []
        for batch in self.arguments.batches:
            spent = network_seconds(self.executor(batch, self.tuned(batch)))
            rule = network_seconds(self.executor(batch, self.by_rule(batch)))
            rows.append(
                {
                    "batch": batch,
                    "tuned_at": self.tuned_at(batch) or "",
                    "tuned_images_per_second": round(batch / spent),
                    "tuned_milliseconds": round(spent * 1e3, 4),
                    "default_images_per_second": round(batch / rule),
                }
            )
            self.tell(
                f"batch {batch:5d}: {batch / spent:9.0f} images/s (tuned at {self.tuned_at(batch)})"
                f", by rule {batch / rule:.0f}"
            )
            write(self.output / "network.csv", rows, self.about)

    def compare_overlapping(self) -> None:
        """The tuned network with launches that overlap and without, side by side."""
        device = self.device
        rows: list[dict[str, Any]] = []
        for batch in self.arguments.batches:
            if self.left() <= 0:
                break
            rates, outputs = [], []
            for overlapping in (False, True):
                self.device = self.prepared.device = replace(device, overlapping=overlapping)
                executor = self.executor(batch, self.tuned(batch))
                generator = torch.Generator(executor.input.device).manual_seed(batch)
                executor.input.random_(-127, 128, generator=generator)
                rates.append(batch / network_seconds(executor))
                outputs.append(executor.output.clone())
                torch.cuda.synchronize()
            self.device = self.prepared.device = device
            equal = torch.equal(*outputs)
            rows.append(
                {
                    "batch": batch,
                    "overlapping_images_per_second": round(rates[1]),
                    "in_turn_images_per_second": round(rates[0]),
                    "ratio": round(rates[1] / rates[0], 4),
                    "equal_logits": equal,
                }
            )
            about = {name: value for name, value in self.about.items() if name != "launches"}
            write(self.output / "overlapping.csv", rows, about)
            self.tell(
                f"batch {batch:5d}: overlapping launches {rates[1]:.0f} against {rates[0]:.0f} "
                f"images/s, {'equal' if equal else 'DIFFERENT'} logits"
            )

    def best_single(self) -> None:
        """The whole network with one configuration for all layers, the best few by layer times."""
        batch: int = self.arguments.tuned_batches[0]
        if batch not in self.rankings:
            self.tell("best single configuration: needs the step `tune`")
            return
        tuned = batch / network_seconds(self.executor(batch, self.tuned(batch)))
        rows: list[dict[str, Any]] = []
        singles = single_configurations(self.layers, self.rankings[batch], self.device.shared_bytes)
        for single in singles[:SINGLES]:
            if self.left() <= 0 and rows:
                break
            rate = batch / network_seconds(self.executor(batch, single.choices))
            rows.append(
                {
                    "batch": batch,
                    "id": single.configuration.id,
                    "layers_replaced": len(single.replaced),
                    "ids_used": len({choice.id for choice in single.choices.values()}),
                    "estimated_images_per_second": round(batch / single.estimate),
                    "images_per_second": round(rate),
                    "tuned_images_per_second": round(tuned),
                    "tuned_over_single": round(tuned / rate, 4),
                }
            )
            write(self.output / f"single_{batch}.csv", rows, self.about)
        best = max(rows, key=lambda row: row["images_per_second"])
        self.tell(
            f"best single configuration at batch {batch}: {best['id']} (replaced in "
            f"{best['layers_replaced']} of {len(self.layers)} launches that it does not fit) with "
            f"{best['images_per_second']} images/s; tuned {tuned:.0f}, "
            f"{tuned / best['images_per_second']:.3f} times that"
        )

    def check_layers(self) -> None:
        """Every ranked configuration of every shape against float64, promising ones first."""
        images = 1 if self.device.interpreted else CHECKED_IMAGES
        executor = Executor(self.prepared, images)
        fill_randomly(executor, 2)
        standing = {layer.shape: layer for layer in reversed(self.plan.convolutions())}
        wanted: dict[tuple[LayerShape, Configuration], int] = {}
        for ranking in self.rankings.values():
            for shape, entries in ranking.items():
                for place, entry in enumerate(entries):
                    pair = shape, entry.configuration
                    wanted[pair] = min(place, wanted.get(pair, place))
        for layer in () if wanted else standing.values():
            wanted[layer.shape, executor.choices[layer.name]] = 0
        pairs = sorted(wanted, key=lambda pair: wanted[pair])
        rows: list[dict[str, Any]] = []
        for first in range(0, len(pairs), PART):
            if self.left() <= 0 and rows:
                break
            part = [(standing[shape], choice) for shape, choice in pairs[first : first + PART]]
            self.compile(part)
            for layer, choice in part:
                exact = self.check(executor, layer, choice, images)
                rows.append({"shape": layer.shape.text, "id": choice.id, "exact": exact})
            write(self.output / "exactness.csv", rows, self.about)
        right = sum(row["exact"] for row in rows)
        self.tell(
            f"exactness: {right} of {len(rows)} (shape, id) pairs equal float64, of {len(pairs)} "
            f"that were ranked, {len({row['shape'] for row in rows})} shapes"
        )

    def check(self, executor: Executor, layer: Layer, choice: Configuration, images: int) -> bool:
        """Whether a configuration gives what float64 gives for the layer's activations."""
        stem = layer.name.startswith("stem")
        source = executor.source(layer.reads, stem)
        added = None if layer.adds is None else executor.source(layer.adds, stem)
        # The same activations for all configurations of a shape, whose output is computed once.
        seed = list(self.layers.values()).index(layer.shape)
        generator = torch.Generator(source.device).manual_seed(seed)
        for tensor, bits in ((source, layer.shape.bits), (added, layer.shape.residual)):
            if tensor is not None and layer.reads != IMAGE:
                most = 256 if getattr(bits, "bits", bits) == 4 else 128
                tensor.random_(0, most, generator=generator)
        wanted = self.wanted.get(layer.shape)
        if wanted is None:
            wanted = expected(layer, self.plan.arranged, source, added, images)
            self.wanted[layer.shape] = wanted
        after = self.plan.follower(layer) if choice.chained else None
        outputs: Sequence[Layer] = [layer] if after is None else [layer, after]
        for written in outputs:
            executor.layer_output(written).fill_(0xA5)
        executor.run_layer(layer, choice)
        right = same(layer, executor.layer_output(layer), wanted)
        if after is not None:
            then = expected(after, self.plan.arranged, executor.layer_output(layer), None, images)
            right = right and same(after, executor.layer_output(after), then)
        return right


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = False
    main()
