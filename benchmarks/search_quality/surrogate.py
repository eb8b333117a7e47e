"""A model of the measured subnets, for those in between."""

import itertools
from dataclasses import dataclass

import numpy as np

from subnet_table.features import Genes, Vector, block_features, resolution_features

RESOLUTIONS = (64, 80, 96)
STAGE_STARTS = (0, 4, 8, 12, 16, 21)


@dataclass(frozen=True)
class SurrogateSettings:
    """Ridge strength; noise and length scale of the kernel on what ridge leaves."""

    ridge: float = 3.0
    noise: float = 1.0
    length: float = 6.0


class Surrogate:
    """Ridge on which kind each block is, and kernel ridge on what that leaves, for all figures.

    The kernel, `exp(-d^2 / 2 l^2)` of genes as numbers, lets effects depend on each other: the
    model is not additive in the genes. Closed form: the same table gives the same model. `targets`
    is `n x m`.
    """

    def __init__(
        self, genes: Genes, targets: Vector, settings: SurrogateSettings | None = None
    ) -> None:
        self._settings = settings or SurrogateSettings()
        features = _features(genes)
        self._centre, self._mean = features.mean(0), targets.mean(0)
        x = features - self._centre
        gram = x.T @ x + self._settings.ridge * np.eye(x.shape[1])
        self._slopes = np.linalg.solve(gram, x.T @ (targets - self._mean))
        self._known = _numbers(genes)
        kernel = self._kernel(self._known) + self._settings.noise * np.eye(len(x))
        self._weights = np.linalg.solve(kernel, targets - self._mean - x @ self._slopes)

    def __call__(self, genes: Genes) -> Vector:
        """Predictions, `n x m`."""
        linear: Vector = (_features(genes) - self._centre) @ self._slopes + self._mean
        return linear + self._kernel(_numbers(genes)) @ self._weights

    def _kernel(self, rows: Vector) -> Vector:
        squares = (rows**2).sum(1)[:, None] + (self._known**2).sum(1)[None, :]
        distance = np.maximum(squares - 2 * rows @ self._known.T, 0.0)
        kernel: Vector = np.exp(-distance / (2 * self._settings.length**2))
        return kernel


def _features(genes: Genes) -> Vector:
    """Kinds of blocks, resolution, and how often each kind is in each stage at each resolution."""
    blocks = block_features(genes)
    resolution = resolution_features(genes, RESOLUTIONS)
    by_block = blocks.reshape(len(blocks), -1, 9)
    stages = itertools.pairwise(STAGE_STARTS)
    counts = np.hstack([by_block[:, low:high].sum(1) for low, high in stages])
    crossed = (counts[:, :, None] * resolution[:, None, :]).reshape(len(blocks), -1)
    return np.hstack([blocks, resolution, crossed])


def _numbers(genes: Genes) -> Vector:
    """What the kernel measures distance by, each gene about as spread as the others."""
    kernel = np.where(genes.ks == 0, 0.0, (genes.ks - 5) / 2.0)
    expansion = np.where(genes.e == 0, 0.0, (genes.e - 4.33) / 1.25)
    depth = (genes.d[:, :-1] - 3.0) * 1.5
    resolution = ((genes.resolution - 80.0) / 16.0 * 2.0)[:, None]
    return np.hstack([kernel, expansion, depth, resolution])
