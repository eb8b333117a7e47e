"""Encodings of a network from the ranges of its tensors and its weights."""

from collections.abc import Mapping

import numpy as np
from torch import fx

from autosinian.encodings.encoding import (
    Encoding,
    Encodings,
    encode_channels,
    encode_range,
    encode_wide,
)
from autosinian.encodings.observe import Observed
from autosinian.encodings.placement import Placement, Slot
from autosinian.quantize.threshold import PERCENTILE


def encode(
    network: fx.GraphModule,
    placement: Placement,
    observed: Mapping[str, Observed],
    *,
    method: str = "minmax",
    percentile: float = PERCENTILE,
) -> Encodings:
    """The encodings of `placement`: activations from `observed` by one of `METHODS`, weights and
    biases from the network, which always keep their whole range."""
    activations = {}
    for slot in placement.activations:
        low, high = observed[slot.name].range(method, percentile=percentile)
        activations[slot.name] = (_encode(slot, low, high, placement),)
    parameters = dict(network.named_parameters())
    encoded = {}
    for slot in placement.parameters:
        values = parameters[slot.name].detach().double().cpu().numpy()
        if slot.per_channel:
            encoded[slot.name] = encode_channels(
                values,
                symmetric=slot.symmetric,
                strict=placement.strict,
                unsigned=placement.unsigned,
            )
        else:
            low, high = float(np.min(values)), float(np.max(values))
            encoded[slot.name] = (_encode(slot, low, high, placement),)
    return Encodings(activations, encoded)


def _encode(slot: Slot, low: float, high: float, placement: Placement) -> Encoding:
    if slot.higher_precision:
        return encode_wide(low, high, symmetric=slot.symmetric)
    return encode_range(
        low,
        high,
        symmetric=slot.symmetric,
        strict=placement.strict,
        unsigned=placement.unsigned,
    )
