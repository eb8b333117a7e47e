"""Our own CIFAR-10 supernet: the measured table, and problems on the model fitted to it."""

import csv
import gzip
import itertools
import random
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_quality.problem import Answer, Parameters, Points, Problem, Stage
from search_quality.surrogate import RESOLUTIONS, Surrogate
from subnet_table.features import Genes, Vector

TABLE = Path(__file__).with_name("cifar10_subnets.csv.gz")
FRONTS = Path(__file__).with_name("cifar10_fronts.csv")
KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
STAGES, BLOCKS, PER_STAGE = 5, 21, 4
"""Five stages of two to four blocks and one last block."""
GPU_BATCHES, CPU_BATCHES = (1, 128), (1, 16)

# Seconds of a trial's stages, from `benchmarks/results/overhead.csv` of a run on two cores.
EXPORT_S, BUILD_S, START_S = 1.6, 0.75, 1.0
ACCURACY_IMAGES, PART_IMAGES = 4_500, 500
PART_DEVIATION = (0.9 * 0.1 / PART_IMAGES) ** 0.5
RUN_S = {"gpu": 5.0, "cpu": 3.0}
"""LoadGen's least duration in `search_spaces/cifar10_gpu.yaml` and `cifar10.yaml`."""
ACCURACY_DROP = 0.02
"""As in `search_spaces/cifar10.yaml`: how much less accurate than the largest one may be."""
GPU_LATENCY_US = 500.0
"""A batch may take so long on the GPU: fast subnets keep it at larger batches than slow ones."""
LARGEST = "96-444441-" + "7" * BLOCKS + "-" + "6" * BLOCKS
SMALLEST = "64-222221-" + "3300" * STAGES + "3-" + "3300" * STAGES + "3"


@dataclass(frozen=True)
class Table:
    """What was measured: words, accuracy (fraction), and microseconds by column, NaN if missing."""

    words: tuple[str, ...]
    accuracy: Vector
    latency_us: dict[str, Vector]
    origin: tuple[str, ...]
    images: int


def read_table(path: Path = TABLE) -> Table:
    """The table that `benchmarks/supernet_table.py` wrote."""
    with gzip.open(path, "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if "_us" in name]

    def number(text: str) -> float:
        return float(text) if text else float("nan")

    return Table(
        words=tuple(row["subnet"] for row in rows),
        accuracy=np.array([number(row["correct"]) / number(row["images"]) for row in rows]),
        latency_us={name: np.array([number(row[name]) for row in rows]) for name in names},
        origin=tuple(row["origin"] for row in rows),
        images=max(int(row["images"] or 0) for row in rows),
    )


@dataclass(frozen=True)
class Model:
    """Accuracy, and microseconds of a batch on one device, of any subnet at any batch size."""

    accuracy: Surrogate
    log_low: Surrogate
    log_high: Surrogate
    batches: tuple[int, int]

    def figures(self, genes: Genes, batch: NDArray[np.int64]) -> tuple[Vector, Vector]:
        """Accuracy and microseconds of `n` subnets at `n` batch sizes."""
        low, high = np.exp(self.log_low(genes)), np.exp(self.log_high(genes))
        return self.accuracy(genes), between(low, high, batch, self.batches)

    @cached_property
    def least_accuracy(self) -> float:
        """That of the largest subnet less what a search may give up."""
        accuracy, _ = self.figures(Genes.read([LARGEST]), np.ones(1, np.int64))
        return float(accuracy[0]) - ACCURACY_DROP


def between(low: Vector, high: Vector, batch: Any, batches: tuple[int, int]) -> Vector:
    """Microseconds at a batch size from those at two: linear in the batch size between them."""
    weight = (np.asarray(batch, float) - batches[0]) / (batches[1] - batches[0])
    time: Vector = low + (high - low) * weight
    return time


def measured(table: Table, values: Vector) -> tuple[list[str], Vector]:
    """Subnets that have one figure, and the figure."""
    there = np.flatnonzero(np.isfinite(values))
    return [table.words[i] for i in there], values[there]


@cache
def model_of(device: str) -> Model:
    """The model of `gpu` or `cpu`, fitted on the shipped table; about two seconds."""
    table = read_table()

    def fitted(values: Vector) -> Surrogate:
        words, known = measured(table, values)
        return Surrogate(Genes.read(words), known)

    batches = GPU_BATCHES if device == "gpu" else CPU_BATCHES
    low, high = (np.log(table.latency_us[f"{device}_b{batch}_us"]) for batch in batches)
    return Model(fitted(table.accuracy), fitted(low), fitted(high), batches)


def space_of(batches: tuple[int, int] | None) -> dict[str, BaseDistribution]:
    """The genes under the names that the product gives them, and the batch size if searched."""
    space: dict[str, BaseDistribution] = {}
    for stage in range(STAGES):
        space[f"depth_{stage}"] = CategoricalDistribution(DEPTHS)
    for block in range(BLOCKS):
        space[f"kernel_size_{block}"] = CategoricalDistribution(KERNELS)
    for block in range(BLOCKS):
        space[f"expand_ratio_{block}"] = CategoricalDistribution(EXPANSIONS)
    space["resolution"] = CategoricalDistribution(RESOLUTIONS)
    if batches is not None:
        space["batch_size"] = IntDistribution(*batches, log=True)
    return space


def gates() -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Blocks that a depth skips have no kernel and no expansion."""
    found: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for stage, position in itertools.product(range(STAGES), range(min(DEPTHS), PER_STAGE)):
        deep = tuple(depth for depth in DEPTHS if depth > position)
        for gene in ("kernel_size", "expand_ratio"):
            found[f"{gene}_{stage * PER_STAGE + position}"] = (f"depth_{stage}", deep)
    return found


def word_of(parameters: Parameters) -> str:
    """The canonical subnet of parameters, as the table writes it."""
    depths = [int(parameters[f"depth_{stage}"]) for stage in range(STAGES)] + [1]
    active = [
        position < depths[stage]
        for stage in range(STAGES + 1)
        for position in range(PER_STAGE if stage < STAGES else 1)
    ]
    genes = [
        "".join(
            str(parameters[f"{name}_{block}"]) if active[block] else "0" for block in range(BLOCKS)
        )
        for name in ("kernel_size", "expand_ratio")
    ]
    return "-".join((str(parameters["resolution"]), "".join(map(str, depths)), *genes))


def parameters_of(word: str) -> dict[str, Any]:
    """Parameters of a subnet; genes of skipped blocks take the first value."""
    resolution, depths, kernels, expansions = word.split("-")
    found: dict[str, Any] = {f"depth_{s}": int(depths[s]) for s in range(STAGES)}
    found |= {f"kernel_size_{b}": int(kernels[b]) or KERNELS[0] for b in range(BLOCKS)}
    found |= {f"expand_ratio_{b}": int(expansions[b]) or EXPANSIONS[0] for b in range(BLOCKS)}
    return found | {"resolution": int(resolution)}


def warm_start(batches: tuple[int, int] | None) -> list[dict[str, Any]]:
    """Extremes and seven uniform subnets at two batch sizes in turn, as the product begins."""

    def uniform(resolution: int, depth: int, kernel: int, expansion: int) -> dict[str, Any]:
        found: dict[str, Any] = {f"depth_{s}": depth for s in range(STAGES)}
        found |= {f"kernel_size_{b}": kernel for b in range(BLOCKS)}
        found |= {f"expand_ratio_{b}": expansion for b in range(BLOCKS)}
        return found | {"resolution": resolution}

    extremes = [(96, 4, 7, 6), (64, 2, 3, 3), (80, 4, 7, 6), (80, 2, 3, 3), (96, 2, 3, 3)]
    others = list(itertools.product(RESOLUTIONS, DEPTHS, KERNELS, EXPANSIONS))
    random.Random(0).shuffle(others)
    chosen = [uniform(*genes) for genes in (*extremes, *others[:7])]
    if batches is None:
        return chosen
    low, high = batches
    sizes = (round(low * (high / low) ** (2 / 3)), high)
    return [genes | {"batch_size": sizes[i % 2]} for i, genes in enumerate(chosen)]


def stages(word: str, batch: int, microseconds: float, device: str) -> tuple[Stage, ...]:
    """The modelled work of a trial: network, engine, accuracy, LoadGen."""
    per_sample_s = microseconds * 1e-6 / batch
    some = PART_IMAGES * per_sample_s
    return (
        Stage("network", word, EXPORT_S),
        Stage("engine", (word, batch), BUILD_S),
        Stage("accuracy of some", word, START_S + some, {0: PART_DEVIATION}),
        Stage("accuracy", word, ACCURACY_IMAGES * per_sample_s - some, {0: 0.0}),
        Stage("loadgen", (word, batch), START_S + RUN_S[device]),
    )


def judged(
    model: Model, device: str, accuracy: float, latency_us: float, batch: int
) -> tuple[tuple[float, float], dict[str, float]]:
    """Objectives and violations of one candidate of the device's problem."""
    if device == "gpu":
        objectives = (accuracy, batch / latency_us * 1e6)
        return objectives, {"batch latency": latency_us / GPU_LATENCY_US - 1.0}
    return (accuracy, latency_us / 1e3), {"accuracy": (model.least_accuracy - accuracy) * 100}


def cifar10_subnets(device: str) -> Problem:
    """`gpu`: accuracy and samples/s, batch size searched, a batch within a latency.

    `cpu`: accuracy and milliseconds at batch 1, accuracy at most 2 points below the largest's.
    Hypervolume counts from the worst feasible accuracy and the worst feasible cost of the table's
    subnets at batch 1, where all are slowest; strictly, it is what is better than the largest
    subnet at batch 1, the baseline, and more accurate than the smallest (`gpu`) or than the bar
    (`cpu`).
    """
    model = model_of(device)
    batches = GPU_BATCHES if device == "gpu" else None

    def key(parameters: Parameters) -> Hashable:
        return word_of(parameters), parameters.get("batch_size", 1)

    def work(parameters: Parameters) -> dict[str, Hashable]:
        word, batch = word_of(parameters), int(parameters.get("batch_size", 1))
        return {stage.name: stage.key for stage in stages(word, batch, 1.0, device)}

    def evaluate(parameters: Parameters) -> Answer:
        word, batch = word_of(parameters), int(parameters.get("batch_size", 1))
        accuracy, latency = model.figures(Genes.read([word]), np.array([batch]))
        objectives, constraints = judged(
            model, device, float(accuracy[0]), float(latency[0]), batch
        )
        parts = stages(word, batch, float(latency[0]), device)
        return Answer(objectives, constraints, parts)

    front = read_front(device)
    largest, smallest = model.figures(Genes.read([LARGEST, SMALLEST]), np.ones(2, np.int64))[
        0
    ].tolist()
    slowest = float(model.figures(Genes.read([LARGEST]), np.ones(1, np.int64))[1][0])
    least = smallest if device == "gpu" else largest - ACCURACY_DROP
    worst = 1e6 / slowest if device == "gpu" else slowest / 1e3
    words = read_table().words
    accuracies, latencies = model.figures(Genes.read(list(words)), np.ones(len(words), np.int64))
    some = [
        judged(model, device, float(accuracy), float(latency), 1)
        for accuracy, latency in zip(accuracies, latencies, strict=True)
    ]
    feasible = np.array([o for o, missed in some if all(v <= 0 for v in missed.values())])
    costs = feasible[:, 1]
    return Problem(
        name=f"cifar10 {device}",
        space=space_of(batches),
        directions=("maximize", "maximize" if device == "gpu" else "minimize"),
        evaluate=evaluate,
        key=key,
        worst=(
            float(feasible[:, 0].min()),
            float(costs.min() if device == "gpu" else costs.max()),
        ),
        strict=(least, worst),
        front=front,
        bound=float(np.median(front[:, 1])),
        gates=gates(),
        warm_start=warm_start(batches),
        work=work,
        elsewhere=on_processor if device == "gpu" else None,
    )


def on_processor() -> Problem:
    """The space of `gpu` as a processor serves it: accuracy and samples/s, nothing asked of them.

    Its latency at a batch size beyond those measured follows the same straight line.
    """
    model = model_of("cpu")

    def evaluate(parameters: Parameters) -> Answer:
        word, batch = word_of(parameters), int(parameters["batch_size"])
        accuracy, latency = model.figures(Genes.read([word]), np.array([batch]))
        samples_per_second = batch / float(latency[0]) * 1e6
        parts = stages(word, batch, float(latency[0]), "cpu")
        return Answer((float(accuracy[0]), samples_per_second), {}, parts)

    return replace(cifar10_subnets("gpu"), name="cifar10 processor", evaluate=evaluate)


def read_front(device: str, path: Path = FRONTS) -> Points:
    """The best known front of a device's problem, `n x 2` objectives."""
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["device"] == device]
    return np.array([[float(row["accuracy"]), float(row["second"])] for row in rows])
