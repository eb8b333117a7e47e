"""How much each layer suffers from 4 bits, and which layers therefore stay in 8."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autosinian.errors import InputError
from autosinian.int4.finetune.evaluation import evaluating
from autosinian.int4.finetune.folded import FoldedNetwork
from autosinian.int4.finetune.images import ImageSet
from autosinian.int4.finetune.precision import Layer
from autosinian.int4.finetune.quantized import QuantizedNetwork

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Sensitivity:
    """`harm` is how much further from the float network the answers are, in nats an image, with
    this layer alone in 4 bits than with all layers in 8."""

    layer: Layer
    harm: float


@dataclass(frozen=True, eq=False)
class Answers:
    """What the float network answers: images in int8 steps and log probabilities, by batch."""

    batches: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @classmethod
    def of(cls, network: FoldedNetwork, data: ImageSet, images: int) -> "Answers":
        """Its answers to the first `images` of the search split."""
        chosen, batches = data.search.images[:images], []
        with evaluating():
            for start in range(0, len(chosen), BATCH_SIZE):
                batch = data.normalised(chosen[start : start + BATCH_SIZE])
                batches.append((data.steps(batch), F.log_softmax(network(batch), 1)))
        return cls(tuple(batches))

    def divergence(self, quantized: QuantizedNetwork) -> float:
        """Mean Kullback-Leibler divergence of `quantized` from them, in nats an image."""
        parts = []
        with evaluating():
            for steps, expected in self.batches:
                found = F.log_softmax(quantized(steps), 1)
                parts.append(F.kl_div(found, expected, reduction="sum", log_target=True))
        count = sum(len(steps) for steps, _ in self.batches)
        return float(torch.stack(parts).sum()) / count


def sensitivities(
    network: FoldedNetwork,
    layers: Sequence[Layer],
    ranges: Mapping[str, float],
    data: ImageSet,
    images: int,
) -> list[Sensitivity]:
    """Every layer's harm, measured without training on the first `images` of the search split,
    greatest first."""
    names = [layer.name for layer in layers]
    quantized = QuantizedNetwork(network, layers, ranges, data.input_scale, names)
    answers = Answers.of(network, data, images)
    base = answers.divergence(quantized)
    found = []
    for layer in layers:
        quantized.set_bits(layer, 4)
        found.append(Sensitivity(layer, answers.divergence(quantized) - base))
        quantized.set_bits(layer, 8)
    return sorted(found, key=lambda one: -one.harm)


def checked_counts(counts: Collection[int], layers: Collection[Layer]) -> None:
    """Raise `InputError` where more layers shall stay in 8 bits than could have 4."""
    for count in counts:
        if not 0 < count <= len(layers):
            raise InputError(
                f"layers kept in 8 bits must be 1 to {len(layers)}, all that may have 4, "
                f"but got {count}"
            )


def most_harmed(found: Sequence[Sensitivity], count: int) -> tuple[str, ...]:
    """Names of the `count` layers that 4 bits harm most; `InputError` where there are fewer."""
    checked_counts((count,), [one.layer for one in found])
    ranked = sorted(found, key=lambda one: -one.harm)
    return tuple(one.layer.name for one in ranked[:count])


def weight_bytes(layers: Collection[Layer], int8: Collection[str]) -> int:
    """Bytes of the weights of `layers`, those of `int8` at one byte, the others at half."""
    return sum(one.weights if one.name in int8 else one.weights // 2 for one in layers)
