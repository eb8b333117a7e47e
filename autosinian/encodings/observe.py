"""Ranges of a network's tensors over calibration images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from autosinian.encodings.placement import named_nodes
from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.histogram import Histogram
from autosinian.quantize.threshold import PERCENTILE, threshold


@dataclass
class Observed:
    """Least and greatest value of a tensor so far, and the histogram of its magnitudes."""

    minimum: float = math.inf
    maximum: float = -math.inf
    histogram: Histogram | None = None

    def range(self, method: str, *, percentile: float = PERCENTILE) -> tuple[float, float]:
        """The range by one of `METHODS`: `minmax` all values (AIMET's `tf`), the others the values
        up to a threshold of the magnitude, on either side."""
        if method == "minmax":
            return self.minimum, self.maximum
        if self.histogram is None:
            raise InputError(f"`{method}` needs histograms: observe with `histograms=True`")
        bound = threshold(self.histogram, method, percentile=percentile)
        return max(self.minimum, -bound), min(self.maximum, bound)


class _Observer(fx.Interpreter):
    def __init__(
        self, network: fx.GraphModule, wanted: dict[fx.Node, str], observed: dict[str, Observed]
    ) -> None:
        super().__init__(network)
        self._wanted = wanted
        self._observed = observed

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        name = self._wanted.get(n)
        if name is not None:
            _add(self._observed[name], value, name)
        return value


def observe(
    network: fx.GraphModule, batches: Iterable[Tensor], *, histograms: bool = False
) -> dict[str, Observed]:
    """Run `batches` of images, `N x C x H x W`, and keep the range of every named tensor.

    The ranges do not depend on how images are batched. `histograms` are needed by `entropy` and
    `percentile`. Raises `InputError` where there is no image, `TrialFailure` where an activation
    is not finite.
    """
    names = named_nodes(network)
    inputs = {name for node, name in names.items() if node.op == "placeholder"}
    observed = {
        name: Observed(histogram=Histogram(bounded=name in inputs) if histograms else None)
        for name in names.values()
    }
    observer = _Observer(network, names, observed)
    images = 0
    with torch.no_grad():
        for batch in batches:
            if len(batch) == 0:
                continue
            images += len(batch)
            observer.run(batch)
    if images == 0:
        raise InputError("calibration needs at least one image, but the calibration set has none")
    return observed


def _add(observed: Observed, value: Tensor, name: str) -> None:
    low, high = (float(bound) for bound in torch.aminmax(value))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise TrialFailure("quantize", f"activations must be finite, but `{name}` is not")
    observed.minimum = min(observed.minimum, low)
    observed.maximum = max(observed.maximum, high)
    if observed.histogram is not None:
        observed.histogram.add(value.cpu().numpy(), max(high, -low))
