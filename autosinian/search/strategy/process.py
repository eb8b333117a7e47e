"""A Gaussian process whose kernel learns which parameters matter, from tens of trials on.

The kernel of two points with features `f` (see `Axes.features`), in groups `g`, is

    k1 = sum_g w_g f_g . f_g'            main effects, each group with a weight of its own
    k  = k1 + b k1^2 + c exp(-r/2 d)     and interactions, where d = k1(x,x) + k1(x',x') - 2 k1

so that only what has an effect interacts (effect heredity). Weights, `b`, `c`, `r` and the noise
are found at the maximum of the marginal likelihood times log-normal priors (Rasmussen and
Williams, *Gaussian Processes for Machine Learning*, equations 5.8 and 5.9), which keep weights
near a common one as long as there are fewer trials than weights.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dtrtri
from scipy.optimize import minimize

from autosinian.search.strategy.axes import Array

Floats = NDArray[np.float64] | NDArray[np.float32]

JITTER = 1e-6
_BOUND = 9.0
_SPREAD = 1.0
_FACTOR = 3.0
"""Standard deviations of the priors of a weight's logarithm, and of what they have in common."""
_OTHER_MEAN = np.log([0.1, 0.3, 0.5, 0.02])
_OTHER_SPREAD = np.asarray([1.0, 1.0, 1.0, 1.5])
SHARES = (0.45, 0.4, 0.15, 2.0)
"""Shares of the prior variance by kind of group (see `Axes.kinds`); of the kinds there are."""
STEPS = 40


@dataclass(frozen=True)
class Kernel:
    """Weights of the feature columns and the other parameters of the kernel.

    `product` is `b`, `smooth` is `c`, `rate` is `r` and `noise` a variance.
    """

    weights: Array
    product: float
    smooth: float
    rate: float
    noise: float

    def between(self, left: Floats, right: Floats) -> Array:
        """`n x m` kernel of features `n x f` and `m x f`."""
        k1 = (left * self.weights.astype(left.dtype)) @ right.T
        return self._of(k1, self._length(left)[:, None], self._length(right)[None, :])

    def own(self, features: Array) -> Array:
        """`n` kernel of each point with itself."""
        k1 = self._length(features)
        return np.asarray(k1 + self.product * k1**2 + self.smooth)

    def _length(self, features: Floats) -> Array:
        return np.asarray(features**2 @ self.weights.astype(features.dtype))

    def _of(self, k1: Array, left: Array, right: Array) -> Array:
        found = left + right
        found -= 2 * k1
        np.maximum(found, 0.0, out=found)
        found *= -0.5 * self.rate
        np.exp(found, out=found)
        found *= self.smooth
        found += k1 * (1 + self.product * k1)
        return np.asarray(found)


def prior_log_weights(kinds: NDArray[np.intp]) -> Array:
    """`g` means of the logarithm of the groups' weights before any trial, by their kinds."""
    present = [kind for kind in range(len(SHARES)) if (kinds == kind).any()]
    total = sum(SHARES[kind] for kind in present)
    found = np.zeros(len(kinds))
    for kind in present:
        members = kinds == kind
        found[members] = np.log(SHARES[kind] / total / members.sum())
    return found


def fit_kernel(
    features: Array, targets: Array, groups: NDArray[np.intp], kinds: NDArray[np.intp]
) -> Kernel:
    """The kernel at the maximum of posterior, for targets of mean 0 and deviation about 1.

    `groups` (`f`) tells the group of each feature, `kinds` (`g`) the kind of each group.
    """
    weights_prior = prior_log_weights(kinds)
    group_count, kind_count = len(kinds), len(SHARES)
    # The weights of one kind vary about a common factor, which is nearly free.
    prior = np.concatenate([weights_prior, _OTHER_MEAN, np.zeros(kind_count)])
    spread = np.concatenate(
        [np.full(group_count, _SPREAD), _OTHER_SPREAD, np.full(kind_count, _FACTOR)]
    )
    count = len(targets)
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])

    def loss(theta: Array) -> tuple[float, Array]:
        weights = np.exp(theta[:group_count] + theta[-kind_count:][kinds])
        product, smooth, rate, noise = np.exp(theta[group_count:-kind_count])
        k1 = (features * weights[groups]) @ features.T
        own = np.diag(k1)
        distance = np.maximum(own[:, None] + own[None, :] - 2 * k1, 0.0)
        smooth_part = smooth * np.exp(-0.5 * rate * distance)
        kernel = k1 + product * k1**2 + smooth_part
        kernel[np.diag_indices(count)] += noise + JITTER
        try:
            factor = cho_factor(kernel, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse = cho_solve(factor, np.eye(count))
        alpha = inverse @ targets
        off = (theta - prior) / spread
        value = 0.5 * targets @ alpha + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        outer = 0.5 * (inverse - np.outer(alpha, alpha))
        along = outer * (-0.5 * rate) * smooth_part
        main = outer * (1 + 2 * product * k1) - 2 * along
        main[np.diag_indices(count)] += 2 * along.sum(1)
        columns = np.einsum("ij,ij->j", features, main @ features)
        gradient = np.empty_like(theta)
        gradient[:group_count] = np.add.reduceat(columns, starts) * weights
        gradient[group_count] = product * np.sum(outer * k1**2)
        gradient[group_count + 1] = np.sum(outer * smooth_part)
        gradient[group_count + 2] = np.sum(along * distance)
        gradient[group_count + 3] = noise * np.trace(outer)
        gradient[-kind_count:] = np.bincount(kinds, gradient[:group_count], kind_count)
        return float(value), gradient + off / spread

    bounds = [(mean - _BOUND, mean + _BOUND) for mean in prior]
    found = minimize(
        loss, prior, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    ).x
    others = np.exp(found[group_count:-kind_count])
    weights = np.exp(found[:group_count] + found[-kind_count:][kinds])
    return Kernel(weights[groups], *map(float, others))


class Process:
    """A Gaussian process of one kernel on `n` points; predicts mean and deviation."""

    def __init__(self, kernel: Kernel, features: Array, targets: Array) -> None:
        self.kernel = kernel
        self._features = features
        self._features_single = features.astype(np.float32)
        matrix = kernel.between(features, features)
        matrix[np.diag_indices(len(targets))] += kernel.noise + JITTER
        self._factor = np.linalg.cholesky(matrix)
        self._alpha = cho_solve((self._factor, True), targets)
        self._targets = targets

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Means and standard deviations (without noise) at `m x f` features."""
        # Single precision halves the time of the largest product and costs 1e-6 of the variance.
        single = features.astype(np.float32)
        cross = self.kernel.between(self._features_single, single)
        cross = cross.astype(np.float64)
        mean = cross.T @ self._alpha
        # `X L' = C'` in place of `L X' = C`, as BLAS reads arrays of rows: neither is copied.
        half = dtrsm(1.0, self._factor.T, cross.T, side=1, overwrite_b=1).T
        variance = self.kernel.own(features) - np.einsum("ij,ij->j", half, half)
        return np.asarray(mean), np.sqrt(np.maximum(variance, 1e-10))

    def held_back(self) -> Array:
        """`n` predictions of each target from all the others (Rasmussen and Williams, 5.12)."""
        # The diagonal of the inverse is that of `W' W`, where `W` is the factor's inverse.
        inverse, _ = dtrtri(self._factor.T)
        diagonal = np.einsum("ij,ij->i", inverse, inverse)
        return np.asarray(self._targets - self._alpha / diagonal)

    def joined(self, features: Array) -> "Process":
        """This process given its own means at more points, as if they had been measured."""
        mean, _ = self.predict(features)
        return Process(
            self.kernel,
            np.concatenate([self._features, features]),
            np.concatenate([self._targets, mean]),
        )
