"""A network with the ranges of its tensors: encodings for any list of exceptions, at no cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, fx

from autosinian.encodings.configuration import Configuration
from autosinian.encodings.encode import encode
from autosinian.encodings.encoding import Encodings
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.observe import Observed, observe
from autosinian.encodings.placement import Placement, place
from autosinian.encodings.simulate import simulate
from autosinian.errors import InputError
from autosinian.quantize.threshold import METHODS, PERCENTILE


@dataclass(frozen=True)
class Calibrated:
    """A folded network and what `observe` saw of it; `method` is one of `METHODS`."""

    network: fx.GraphModule
    configuration: Configuration
    observed: Mapping[str, Observed]
    method: str
    percentile: float

    def placement(self, exceptions: Exceptions) -> Placement:
        """Which encodings there are; raises `InputError` for an exception that names nothing."""
        return place(self.network, self.configuration, exceptions)

    def encodings(self, exceptions: Exceptions) -> Encodings:
        """The encodings with these exceptions."""
        return encode(
            self.network,
            self.placement(exceptions),
            self.observed,
            method=self.method,
            percentile=self.percentile,
        )

    def simulated(self, exceptions: Exceptions) -> fx.GraphModule:
        """The network in INT8 with these exceptions."""
        return simulate(self.network, self.encodings(exceptions))


def calibrate(
    network: fx.GraphModule,
    batches: Iterable[Tensor],
    configuration: Configuration,
    *,
    method: str = "minmax",
    percentile: float = PERCENTILE,
) -> Calibrated:
    """Observe `network`, folded, on `batches` of `N x C x H x W`.

    Raises `InputError` for an unknown method, a network that cannot have encodings, or no image.
    """
    if method not in METHODS:
        raise InputError(f"calibration must be one of {', '.join(METHODS)}, but got `{method}`")
    place(network, configuration, Exceptions())  # what is wrong is told before the long part
    observed = observe(network, batches, histograms=method != "minmax")
    return Calibrated(network, configuration, observed, method, percentile)
