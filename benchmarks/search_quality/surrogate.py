"""A model of the measured subnets, for those in between."""

from dataclasses import dataclass

import numpy as np

from subnet_table.features import Genes, Ridge, Vector, block_features, resolution_features

RESOLUTIONS = (64, 80, 96)
STAGES = 6
RIDGE_STRENGTH = 3.0
KERNEL_NOISE = 1.0
LENGTH = 6.0


@dataclass(frozen=True)
class SurrogateSettings:
    """Ridge strength; noise and length scale (in changed features) of the kernel on the rest."""

    ridge: float = RIDGE_STRENGTH
    noise: float = KERNEL_NOISE
    length: float = LENGTH


class Surrogate:
    """Ridge on which kind each block is, and kernel ridge on what that leaves.

    The kernel, `exp(-d^2 / 2 l^2)` of features scaled to equal weight, lets effects depend on each
    other: the model is not additive in the genes. Closed form, so that the same table gives the
    same model.
    """

    def __init__(
        self, genes: Genes, target: Vector, settings: SurrogateSettings | None = None
    ) -> None:
        self._settings = settings or SurrogateSettings()
        features = _features(genes)
        self._linear = Ridge.fit(features, target, self._settings.ridge)
        rest = target - self._linear(features)
        self._known = _scaled(genes)
        gram = self._kernel(self._known)
        self._weights = np.linalg.solve(gram + self._settings.noise * np.eye(len(gram)), rest)

    def __call__(self, genes: Genes) -> Vector:
        """Predictions, `n`."""
        predicted: Vector = self._linear(_features(genes))
        return predicted + self._kernel(_scaled(genes)) @ self._weights

    def _kernel(self, rows: Vector) -> Vector:
        squares = (rows**2).sum(1)[:, None] + (self._known**2).sum(1)[None, :]
        distance = np.maximum(squares - 2 * rows @ self._known.T, 0.0)
        kernel: Vector = np.exp(-distance / (2 * self._settings.length**2))
        return kernel


def _features(genes: Genes) -> Vector:
    """Kinds of blocks, resolution, and each kind's count at each resolution."""
    blocks = block_features(genes)
    resolution = resolution_features(genes, RESOLUTIONS)
    counts = blocks.reshape(len(blocks), -1, 9)
    position = np.arange(counts.shape[1])
    parts = [
        counts[:, (position >= low) & (position < high)].sum(1)
        for low, high in zip((0, 4, 8, 12, 16), (4, 8, 12, 16, 21), strict=True)
    ]
    by_stage = np.hstack(parts)
    crossed = (by_stage[:, :, None] * resolution[:, None, :]).reshape(len(blocks), -1)
    return np.hstack([blocks, resolution, crossed])


def _scaled(genes: Genes) -> Vector:
    """What the kernel measures distance by: kernels, expansions, depths, resolution, as numbers."""
    kernel = np.where(genes.ks == 0, 0.0, (genes.ks - 5) / 2.0)
    expansion = np.where(genes.e == 0, 0.0, (genes.e - 4.33) / 1.25)
    depth = (genes.d[:, :-1] - 3.0) * 1.5
    resolution = ((genes.resolution - 80.0) / 16.0 * 2.0)[:, None]
    return np.hstack([kernel, expansion, depth, resolution])
