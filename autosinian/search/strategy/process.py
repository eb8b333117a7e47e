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
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from autosinian.search.strategy.axes import Array

JITTER = 1e-6
_BOUND = 9.0
_SPREAD = 1.5
"""Standard deviation of the prior of a weight's logarithm."""
_OTHER_MEAN = np.log([0.1, 0.3, 0.5, 0.02])
_OTHER_SPREAD = np.asarray([1.0, 1.0, 1.0, 1.5])
FAMILY_SHARE = 0.7
"""Share of the prior variance that is what the members of families have in common."""
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

    def between(self, left: Array, right: Array) -> Array:
        """`n x m` kernel of features `n x f` and `m x f`."""
        weighted = left * self.weights
        k1 = weighted @ right.T
        own_left = np.einsum("ij,ij->i", weighted, left)
        own_right = np.einsum("ij,ij->i", right * self.weights, right)
        distance = np.maximum(own_left[:, None] + own_right[None, :] - 2 * k1, 0.0)
        return np.asarray(
            k1 + self.product * k1**2 + self.smooth * np.exp(-0.5 * self.rate * distance)
        )

    def own(self, features: Array) -> Array:
        """`n` kernel of each point with itself."""
        k1 = np.einsum("ij,ij->i", features * self.weights, features)
        return np.asarray(k1 + self.product * k1**2 + self.smooth)


def prior_log_weights(groups: NDArray[np.intp], family_groups: int) -> Array:
    """`g` means of the logarithm of the groups' weights before any trial."""
    count = int(groups.max()) + 1 if len(groups) else 1
    single = max(count - family_groups, 1)
    share = FAMILY_SHARE if family_groups else 0.0
    found = np.full(count, (1 - share) / single)
    if family_groups:
        found[:family_groups] = share / family_groups
    return np.asarray(np.log(found))


def fit_kernel(
    features: Array, targets: Array, groups: NDArray[np.intp], family_groups: int
) -> Kernel:
    """The kernel at the maximum of posterior, for targets of mean 0 and deviation about 1."""
    prior = np.concatenate([prior_log_weights(groups, family_groups), _OTHER_MEAN])
    spread = np.concatenate([np.full(len(prior) - 4, _SPREAD), _OTHER_SPREAD])
    count = len(targets)
    group_count = len(prior) - 4
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])

    def loss(theta: Array) -> tuple[float, Array]:
        weights = np.exp(theta[:group_count])
        product, smooth, rate, noise = np.exp(theta[group_count:])
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
        return float(value), gradient + off / spread

    bounds = [(mean - _BOUND, mean + _BOUND) for mean in prior]
    found = minimize(
        loss, prior, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    ).x
    others = np.exp(found[group_count:])
    return Kernel(np.exp(found[:group_count])[groups], *map(float, others))


class Process:
    """A Gaussian process of one kernel on `n` points; predicts mean and deviation."""

    def __init__(self, kernel: Kernel, features: Array, targets: Array) -> None:
        self.kernel = kernel
        self._features = features
        matrix = kernel.between(features, features)
        matrix[np.diag_indices(len(targets))] += kernel.noise + JITTER
        self._factor = np.linalg.cholesky(matrix)
        self._alpha = cho_solve((self._factor, True), targets)
        self._targets = targets

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Means and standard deviations (without noise) at `m x f` features."""
        cross = self.kernel.between(self._features, features)
        mean = cross.T @ self._alpha
        half = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        variance = self.kernel.own(features) - np.einsum("ij,ij->j", half, half)
        return np.asarray(mean), np.sqrt(np.maximum(variance, 1e-10))

    def held_back(self) -> Array:
        """`n` predictions of each target from all the others (Rasmussen and Williams, 5.12)."""
        inverse = cho_solve((self._factor, True), np.eye(len(self._targets)))
        return np.asarray(self._targets - self._alpha / np.diag(inverse))

    def joined(self, features: Array) -> "Process":
        """This process given its own means at more points, as if they had been measured."""
        mean, _ = self.predict(features)
        return Process(
            self.kernel,
            np.concatenate([self._features, features]),
            np.concatenate([self._targets, mean]),
        )
