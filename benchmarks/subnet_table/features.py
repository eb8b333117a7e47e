"""Subnets as vectors, and ridge regression on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)


@dataclass(frozen=True)
class Genes:
    """Many subnets as arrays of integers: `n` resolutions, `n x stages`, `n x blocks` twice.

    Genes of skipped blocks are 0.
    """

    resolution: NDArray[np.int64]
    d: NDArray[np.int64]
    ks: NDArray[np.int64]
    e: NDArray[np.int64]

    @classmethod
    def read(cls, words: Sequence[str]) -> "Genes":
        """From words as `subnets.word` writes them."""
        parts = [text.split("-") for text in words]

        def digits(index: int) -> NDArray[np.int64]:
            return np.array([[int(c) for c in part[index]] for part in parts], np.int64)

        resolution = np.array([int(part[0]) for part in parts], np.int64)
        return cls(resolution, digits(1), digits(2), digits(3))

    def take(self, indices: NDArray[np.int64]) -> "Genes":
        """Some of them, in that order."""
        return Genes(self.resolution[indices], self.d[indices], self.ks[indices], self.e[indices])

    def words(self) -> list[str]:
        """Inverse of `read`."""
        return [
            "-".join((str(r), *("".join(map(str, row)) for row in rows)))
            for r, *rows in zip(
                self.resolution.tolist(), self.d.tolist(), self.ks.tolist(), self.e.tolist(),
                strict=True,
            )
        ]  # fmt: skip


def kinds(genes: Genes) -> NDArray[np.int64]:
    """`n x blocks`: 0 for a skipped block, else 1 + 3 * (index of kernel) + index of expansion."""
    kernel = np.searchsorted(KERNELS, genes.ks)
    expansion = np.searchsorted(EXPANSIONS, genes.e)
    return np.where(genes.ks == 0, 0, 1 + 3 * kernel + expansion).astype(np.int64)


def block_features(genes: Genes) -> Vector:
    """`n x 9 blocks`: which of the nine kinds each block is, none where it is skipped."""
    one_hot: Vector = np.eye(10)[kinds(genes)][:, :, 1:]
    return one_hot.reshape(len(one_hot), -1)


def resolution_features(genes: Genes, resolutions: Sequence[int]) -> Vector:
    """`n x resolutions`, one hot."""
    is_one: NDArray[np.bool_] = genes.resolution[:, None] == np.asarray(resolutions)[None, :]
    return is_one.astype(np.float64)


def ranked_features(genes: Genes, resolutions: Sequence[int]) -> Vector:
    """Blocks and resolution one hot: what a plain predictor is given."""
    return np.hstack([block_features(genes), resolution_features(genes, resolutions)])


@dataclass(frozen=True)
class Ridge:
    """A linear model: `features @ weights + offset`."""

    weights: Vector
    offset: float

    @classmethod
    def fit(cls, features: Vector, target: Vector, strength: float) -> "Ridge":
        """Least squares with `strength` times the squared weights added, offset left free."""
        centre, mean = features.mean(0), float(target.mean())
        x = features - centre
        if len(x) >= x.shape[1]:
            gram = x.T @ x + strength * np.eye(x.shape[1])
            weights = np.linalg.solve(gram, x.T @ (target - mean))
        else:
            gram = x @ x.T + strength * np.eye(len(x))
            weights = x.T @ np.linalg.solve(gram, target - mean)
        return cls(weights, mean - float(centre @ weights))

    def __call__(self, features: Vector) -> Vector:
        """Predictions, `n`."""
        predicted: Vector = features @ self.weights + self.offset
        return predicted
