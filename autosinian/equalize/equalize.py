"""The three steps in their order: a network to one that is easier to quantize."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, fx, nn

from autosinian.equalize.fold import BatchNorm, fold_batch_norms
from autosinian.equalize.graph import trace
from autosinian.equalize.high_bias import fold_high_biases
from autosinian.equalize.pairs import Pair, find_pairs
from autosinian.equalize.scaling import equalize_pairs


@dataclass(frozen=True)
class Equalized:
    """A network with batch norm folded, and what was done to it.

    `norms` are by convolution, as they are behind the scaling; `pairs` were scaled by `factors`,
    `channels`; `high_biases` moved to the next layer, `channels`.
    """

    network: fx.GraphModule
    norms: Mapping[str, BatchNorm]
    pairs: tuple[Pair, ...]
    factors: Mapping[Pair, Tensor]
    high_biases: Mapping[Pair, Tensor]


def folded(module: nn.Module) -> Equalized:
    """`module` with its batch norms folded and nothing else changed. `module` stays as it was."""
    network = trace(module)
    return Equalized(network, fold_batch_norms(network), (), {}, {})


def equalize(
    module: nn.Module, *, high_bias: bool = True, across_padding: bool = False
) -> Equalized:
    """`module`, any network that `torch.fx` traces, folded and equalized; it stays as it was.

    Fold and scaling keep the function up to float32's rounding; for the high-bias fold see
    `fold_high_biases`. Raises `InputError` where the network cannot be traced.
    """
    start = folded(module)
    pairs = tuple(find_pairs(start.network))
    factors, norms = equalize_pairs(start.network, pairs, start.norms)
    moved: dict[Pair, Tensor] = {}
    if high_bias:
        moved = fold_high_biases(start.network, pairs, norms, across_padding=across_padding)
    return Equalized(start.network, norms, pairs, factors, moved)
