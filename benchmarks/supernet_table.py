"""Measure many subnets of the CIFAR-10 supernet: accuracy, latency on a GPU and on a processor.

    python benchmarks/supernet_table.py --data ../shared/data/cifar10_jpeg_q75.tar.xz \
        --folder build/supernet_table --device cuda --time 540

Two generations: uniform, random and tilted subnets; then subnets near the fronts that the first
generation's figures suggest. Accuracy is on the 4,500 held-out training images (the roles `search`
and `calibration`; never the test split) after batch-norm recalibration on 1,000 training images.
GPU latency is that of the folded fp16 network in one CUDA graph, median of replays; processor
latency that of the folded fp32 network on two cores of its own, several subnets side by side on
different cores. Each phase appends to a CSV file of its own in the folder and can be stopped and
run again; `--phase table` merges them. Phases run in the order
accuracy, latency (GPU and processor at once on disjoint cores), for each generation.
"""

import argparse
import csv
import datetime
import gzip
import io
import os
import random
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autosinian.content import atomic_file
from autosinian.engine.processor import processor_name
from autosinian.supernet import Supernet, open_supernet
from subnet_table import accuracy, cpu_latency, gpu_latency, images
from subnet_table.next_generation import next_generation
from subnet_table.subnets import first_generation
from subnet_table.workers import Ended, Opener, Place, Row, read_rows, run

REPOSITORY = Path(__file__).resolve().parents[1]
PHASES = ("accuracy", "gpu-latency", "cpu-latency", "table")
GPU_BATCHES, CPU_BATCHES = (1, 128), (1, 16)
GPU_BETWEEN, CPU_BETWEEN = 16, 4
"""Batch sizes measured on a few subnets only, to judge the model in between."""
FEW = 8
"""One subnet in so many is measured there too, and one in so many twice."""
KEEP = 0.5
LANES = 5
"""Processes a GPU that make subnets ready; one at a time measures."""
GENERATIONS = (1, 2)


@dataclass(frozen=True)
class Plan:
    """The command line, and what it opened."""

    options: argparse.Namespace
    supernet: Supernet
    deadline: float

    @property
    def folder(self) -> Path:
        """Where rows are kept."""
        return Path(self.options.folder)

    def rows(self, phase: str) -> list[Row]:
        """What a phase has measured so far."""
        return read_rows(self.folder / f"{phase}.csv")

    @property
    def rounds(self) -> list[tuple[int, ...]]:
        """Generations that are measured together: all, once the second is chosen."""
        wanted: list[int] = sorted(self.options.generation)
        if all((self.folder / f"generation-{number}.csv").exists() for number in wanted):
            return [tuple(wanted)]
        return [(number,) for number in wanted]

    def share_s(self, step: int, steps: int) -> float:
        """Seconds for a step: an equal share of what is left for it and the steps after it."""
        return max(self.deadline - time.monotonic(), 0.0) / (steps - step)


def subnets(plan: Plan, generation: int) -> dict[str, str]:
    """The subnets of a generation and where each comes from; the second needs the first's rows.

    A generation is written down when it is first chosen, so that a second run measures the same.
    """
    path = plan.folder / f"generation-{generation}.csv"
    if path.exists():
        return {row["subnet"]: row["origin"] for row in read_rows(path)}
    options, supernet = plan.options, plan.supernet
    if generation == 1:
        count = options.subnets - options.subnets * 2 // 5
        chosen = dict(first_generation(supernet.genes, supernet.resolutions, count, options.seed))
    else:
        count = options.subnets * 2 // 5
        measured, costs = figures(plan)
        if not measured:
            print("no accuracy is there to choose a second generation by", file=sys.stderr)
            return {}
        found = next_generation(
            measured, costs, supernet.genes, supernet.resolutions, count, options.seed
        )
        chosen = dict.fromkeys(found, "front")
    with atomic_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("subnet", "origin"))
        writer.writerows(chosen.items())
    return chosen


def figures(plan: Plan) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Accuracy by subnet, and by name each cost that most of them have: MACs and latencies."""
    rows = plan.rows("accuracy")
    measured = {row["subnet"]: int(row["correct"]) / int(row["images"]) for row in rows}
    costs = {"macs": {row["subnet"]: float(row["macs"]) for row in rows}}
    for phase in ("gpu-latency", "cpu-latency"):
        for row in plan.rows(phase):
            name = f"{phase} {row['batch_size']}"
            costs.setdefault(name, {})[row["subnet"]] = float(row["latency_us"])
    return measured, {
        name: values for name, values in costs.items() if len(values) >= KEEP * len(measured)
    }


def places(options: argparse.Namespace, phase: str) -> list[Place]:
    """Where the workers of a phase run."""
    cores = sorted(os.sched_getaffinity(0))
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices = gpus if options.device == "cuda" else [options.device]
    if phase == "accuracy":
        count = options.workers or (6 * len(devices) if options.device == "cuda" else len(cores))
        return [Place(i, devices[i % len(devices)], ()) for i in range(count)]
    reserved = cores[: LANES * len(gpus)] if len(cores) > 2 * LANES * len(gpus) else []
    if phase == "gpu-latency":
        return [Place(i, gpus[i % len(gpus)], tuple(reserved)) for i in range(LANES * len(gpus))]
    free = cores[len(reserved) :]
    pairs = [tuple(free[i : i + 2]) for i in range(0, len(free) - 1, 2)] or [tuple(free)]
    return [Place(i, f"cpu:{i}", pair) for i, pair in enumerate(pairs[: options.workers or None])]


def measure(
    plan: Plan, phase: str, generations: tuple[int, ...], time_limit_s: float
) -> Ended | None:
    """One phase of a round; None where nothing is left to do or no device is there."""
    if phase == "gpu-latency" and not torch.cuda.is_available():
        print("no GPU is here: its latencies are left out", file=sys.stderr)
        return None
    origins = {
        text: (generation, origin)
        for generation in generations
        for text, origin in subnets(plan, generation).items()
    }
    settings: Any
    opener: Opener
    fields: tuple[str, ...]
    if phase == "accuracy":
        done = {row["subnet"] for row in plan.rows(phase)}
        tasks = [text for text in origins if text not in done]
        prepared = plan.folder / f"images-{plan.options.images or 'all'}"
        settings = accuracy.AccuracySettings(
            plan.options.supernet,
            prepared,
            plan.options.batch_size,
            plan.options.device == "cuda" and not plan.options.fp32,
            origins,
        )
        opener, fields = accuracy.open_accuracy, accuracy.FIELDS
        if tasks:
            print("preparing images", file=sys.stderr, flush=True)
            images.prepare(
                plan.options.data,
                plan.supernet.preprocessing,
                plan.supernet.resolutions,
                prepared,
                plan.options.images,
            )
    else:
        tasks = latency_tasks(plan, phase, list(origins))
        on_gpu = phase == "gpu-latency"
        settings = gpu_latency.LatencySettings(
            plan.options.supernet, GPU_BATCHES if on_gpu else CPU_BATCHES
        )
        opener = gpu_latency.open_gpu_latency if on_gpu else cpu_latency.open_cpu_latency
        fields = gpu_latency.FIELDS
    if not tasks:
        return None
    return run(
        tasks,
        opener,
        settings,
        places(plan.options, phase),
        plan.folder / f"{phase}.csv",
        fields,
        about(plan.options.device if phase == "accuracy" else phase),
        time_limit_s,
        phase,
    )


def latency_tasks(plan: Plan, phase: str, chosen: list[str]) -> list[str]:
    """`SUBNET REPEAT [BATCH SIZES]` for what is not measured: in a shuffled order, repeats last."""
    first, between = (
        (GPU_BATCHES, GPU_BETWEEN) if phase == "gpu-latency" else (CPU_BATCHES, CPU_BETWEEN)
    )
    done = {(row["subnet"], int(row["repeat"])) for row in plan.rows(phase)}
    order = sorted(chosen)
    random.Random(0).shuffle(order)
    tasks = []
    for index, text in enumerate(order):
        batches = [*first, between] if index % FEW == 0 else first
        if (text, 0) not in done:
            tasks.append(f"{text} 0 {' '.join(map(str, batches))}")
    tasks += [f"{text} 1" for text in order[::FEW] if (text, 1) not in done]
    return tasks


def about(device: str) -> Row:
    """The columns that say what measured."""
    on_gpu = device in ("cuda", "gpu-latency")
    return {
        "device": torch.cuda.get_device_name(0) if on_gpu else processor_name(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def table(plan: Plan, output: Path) -> list[Row]:
    """Write one row a subnet with all that was measured; subnets without accuracy are left out."""
    columns: dict[str, dict[str, list[float]]] = {}
    devices: dict[str, str] = {}
    for phase, prefix in (("gpu-latency", "gpu"), ("cpu-latency", "cpu")):
        for row in plan.rows(phase):
            suffix = "_again" if row["repeat"] == "1" else ""
            name = f"{prefix}_b{row['batch_size']}_us{suffix}"
            columns.setdefault(name, {}).setdefault(row["subnet"], []).append(
                float(row["latency_us"])
            )
            devices[f"{prefix}_device"] = f"{row['device']}, {row['engine']}"
    merged = []
    for row in plan.rows("accuracy"):
        latencies = {
            name: statistics.median(values[row["subnet"]]) if row["subnet"] in values else ""
            for name, values in sorted(columns.items())
        }
        merged.append({**row, **latencies, **devices})
    if merged:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(merged[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged)
        with atomic_file(output) as temporary:
            temporary.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return merged


def report(
    plan: Plan, phases: list[str], generations: tuple[int, ...], time_limit_s: float
) -> None:
    """Measure phases at once and say how each ended; a failure of one does not end the others."""

    def one(phase: str) -> None:
        ended = measure(plan, phase, generations, time_limit_s)
        if ended is not None:
            print(
                f"{phase} of generations {generations}: {ended.rows} rows, {ended.failed} failed, "
                f"{'complete' if ended.complete else 'stopped at the limit'}, "
                f"{ended.seconds:.0f} s",
                flush=True,
            )

    threads = [threading.Thread(target=one, args=(phase,)) for phase in phases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def summary(rows: list[Row]) -> None:
    """A short table of what is there."""
    print(f"{len(rows)} subnets")
    for name in rows[0] if rows else ():
        values = [
            float(row[name]) for row in rows if name.endswith(("_us", "_again")) and row[name]
        ]
        if values:
            low, high = min(values), max(values)
            print(f"{name:24} {len(values):6} rows {low:12.1f} to {high:.1f} us")
    if rows:
        accuracies = [int(row["correct"]) / int(row["images"]) for row in rows]
        print(f"{'accuracy':24} {len(rows):6} rows {min(accuracies):.4f} to {max(accuracies):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="CIFAR-10 as a folder or a tar archive")
    parser.add_argument("--supernet", type=Path, default=REPOSITORY / "pretrained" / "cifar10.pt")
    parser.add_argument("--folder", type=Path, default=Path("build/supernet_table"))
    parser.add_argument(
        "--phase", nargs="*", choices=PHASES, default=list(PHASES), help="all by default"
    )
    parser.add_argument(
        "--generation", type=int, nargs="*", choices=GENERATIONS, default=list(GENERATIONS)
    )
    parser.add_argument("--subnets", type=int, default=2400, help="in both generations together")
    parser.add_argument("--images", type=int, help="held-out images; all by default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--fp32", action="store_true", help="accuracy in fp32 on the GPU too")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: as the device wants")
    parser.add_argument("--batch-size", type=int, default=1000, help="images at once")
    parser.add_argument("--time", type=float, default=540.0, help="seconds for all phases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="the merged table, FILE.csv.gz")
    options = parser.parse_args()
    plan = Plan(options, open_supernet(options.supernet), time.monotonic() + options.time)
    steps = [
        (round_, phases)
        for round_ in plan.rounds
        for phases in (
            [phase for phase in PHASES[:1] if phase in options.phase],
            [phase for phase in PHASES[1:3] if phase in options.phase],
        )
        if phases
    ]
    for number, (generations, phases) in enumerate(steps):
        report(plan, phases, generations, plan.share_s(number, len(steps)))
    if "table" in options.phase:
        output = options.output or plan.folder / "cifar10_subnets.csv.gz"
        summary(table(plan, output))


if __name__ == "__main__":
    main()
