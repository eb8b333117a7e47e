"""The best front that can be found when asking costs nothing: far more than any search may ask."""

import numpy as np
from numpy.typing import NDArray

from search_quality.cifar10_subnets import (
    BLOCKS,
    GPU_BATCHES,
    GPU_LATENCY_US,
    PER_STAGE,
    STAGES,
    gates,
    model_of,
    parameters_of,
    read_table,
    space_of,
    warm_start,
)
from search_quality.grid import Grid, Rows
from search_quality.hypervolume import best_of, non_dominated
from search_quality.problem import Points
from subnet_table.features import Genes

CHUNK = 4000
KEPT = 600


def best_known(
    device: str, population: int, generations: int, starts: int
) -> tuple[list[str], NDArray[np.int64], Points]:
    """Subnets, batch sizes and objectives, `n x 2`, of the front that was found."""
    grid = Grid(space_of(GPU_BATCHES if device == "gpu" else None), gates())
    signs = np.array([-1.0, -1.0 if device == "gpu" else 1.0])
    archive = _measured(grid, device)
    for seed in range(starts):
        rng = np.random.default_rng(seed)
        rows = np.vstack([archive, grid.sample(population, rng)])
        for generation in range(generations):
            points, violation = figures(device, grid, rows)
            rows = rows[best_of(points * signs, violation, population)]
            if generation < generations - 1:
                rate = (0.5 + 2.5 * rng.random()) / len(grid.names)
                children = grid.children(rows, population, rate, rng)
                rows = np.unique(np.vstack([rows, children]), axis=0)
        archive = _climbed(device, grid, np.unique(np.vstack([archive, rows]), axis=0), signs)
    points, _ = figures(device, grid, archive)
    genes, batches = _read(grid, archive)
    return genes.words(), batches, points


def figures(device: str, grid: Grid, rows: Rows) -> tuple[Points, Points]:
    """Objectives, `n x 2`, and violation, `n`, of rows of the device's problem."""
    model = model_of(device)
    points, violation = np.zeros((len(rows), 2)), np.zeros(len(rows))
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        genes, batches = _read(grid, rows[part])
        accuracy, latency = model.figures(genes, batches)
        if device == "gpu":
            points[part] = np.column_stack([accuracy, batches / latency * 1e6])
            violation[part] = np.maximum(latency / GPU_LATENCY_US - 1.0, 0.0)
        else:
            points[part] = np.column_stack([accuracy, latency / 1e3])
            violation[part] = np.maximum(model.least_accuracy - accuracy, 0.0)
    return points, violation


def _climbed(device: str, grid: Grid, rows: Rows, signs: Points) -> Rows:
    """The front of rows and of all changes of one gene to them, until nothing new joins it."""
    tried: set[bytes] = set()
    rows = _front(device, grid, rows, signs)
    while True:
        fresh = [row for row in rows if row.tobytes() not in tried]
        if not fresh:
            return rows
        tried.update(row.tobytes() for row in fresh)
        neighbours = np.unique(np.vstack([_neighbours(grid, row) for row in fresh]), axis=0)
        rows = _front(device, grid, np.unique(np.vstack([rows, neighbours]), axis=0), signs)
        if len(rows) > KEPT:
            points, violation = figures(device, grid, rows)
            rows = rows[best_of(points * signs, violation, KEPT)]


def _front(device: str, grid: Grid, rows: Rows, signs: Points) -> Rows:
    points, violation = figures(device, grid, rows)
    feasible = np.flatnonzero(violation <= 0)
    kept: Rows = rows[feasible[non_dominated(points[feasible] * signs)]]
    return kept


def _neighbours(grid: Grid, row: NDArray[np.int64]) -> Rows:
    """Every row that differs in one gene; a batch size by at most a few."""
    found = []
    for position, size in enumerate(grid.sizes):
        near = range(int(size)) if size <= 8 else range(row[position] - 3, row[position] + 4)
        for value in near:
            if 0 <= value < size and value != row[position]:
                changed = row.copy()
                changed[position] = value
                found.append(changed)
    return grid.canonical(np.array(found, np.int64))


def _measured(grid: Grid, device: str) -> Rows:
    """All subnets of the table, at a few batch sizes, and the warm start."""
    table = read_table()
    rows = []
    for word in table.words:
        parameters = parameters_of(word)
        for batch in (4, 16, 48) if device == "gpu" else (None,):
            extra = {} if batch is None else {"batch_size": batch}
            rows.append(grid.encode({**parameters, **extra}))
    for parameters in warm_start(GPU_BATCHES if device == "gpu" else None):
        rows.append(grid.encode(parameters))
    return np.unique(np.array(rows), axis=0)


def _read(grid: Grid, rows: Rows) -> tuple[Genes, NDArray[np.int64]]:
    """Subnets in canonical form and batch sizes of rows."""

    def column(name: str) -> NDArray[np.int64]:
        position = grid.names.index(name)
        return np.array(grid.values[position], np.int64)[rows[:, position]]

    d = np.column_stack([column(f"depth_{s}") for s in range(STAGES)] + [np.ones(len(rows), int)])
    active = np.column_stack(
        [block % PER_STAGE < d[:, block // PER_STAGE] for block in range(BLOCKS)]
    )
    ks = np.column_stack([column(f"kernel_size_{b}") for b in range(BLOCKS)])
    e = np.column_stack([column(f"expand_ratio_{b}") for b in range(BLOCKS)])
    genes = Genes(column("resolution"), d, np.where(active, ks, 0), np.where(active, e, 0))
    batches = column("batch_size") if "batch_size" in grid.names else np.ones(len(rows), np.int64)
    return genes, batches
