"""The accuracy of a network on the way: for decisions; figures come from the written integers."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from autosinian.int4.finetune.images import ImageSet, Split
from autosinian.int4.finetune.quantized import QuantizedNetwork


@contextlib.contextmanager
def evaluating() -> Iterator[None]:
    """Without gradients, and without cuDNN's search for the fastest convolution of every shape,
    which takes seconds and pays only where a shape is met thousands of times."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def float_accuracy(
    network: Callable[[torch.Tensor], torch.Tensor],
    data: ImageSet,
    split: Split,
    *,
    batch_size: int = 1000,
    half: bool = False,
) -> float:
    """Part of `split` that `network` labels right, 0 to 1; in bfloat16 where `half`."""
    correct = torch.zeros((), device=data.device)
    with evaluating(), torch.autocast(data.device.type, torch.bfloat16, enabled=half):
        for start in range(0, len(split), batch_size):
            logits = network(data.normalised(split.images[start : start + batch_size]))
            correct += (logits.argmax(1) == split.labels[start : start + batch_size]).sum()
    return float(correct) / len(split)


def integer_accuracy(quantized: QuantizedNetwork, data: ImageSet, split: Split) -> float:
    """Part of `split` that `quantized` labels right in its exact forward pass, 0 to 1."""
    return float_accuracy(lambda images: quantized(data.steps(images)), data, split)
