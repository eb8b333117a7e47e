"""The sandwich rule: the largest subnet learns the labels, the others learn from the largest."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from autosinian.supernet.families import SupernetConfig

Genes = dict[str, Any]


def extreme(config: SupernetConfig, *, largest: bool) -> Genes:
    """Genes of the largest or smallest subnet in the form of `ofa`'s `set_active_subnet`."""
    pick = max if largest else min
    if config.family == "resnet":
        return {
            "d": pick(config.d),
            "e": pick(config.e),
            "w": len(config.w) - 1 if largest else 0,
        }
    return {"ks": pick(config.ks), "e": pick(config.e), "d": pick(config.d)}


def sample(config: SupernetConfig, net: torch.nn.Module, rng: random.Random) -> Genes:
    """Genes of a uniformly random subnet, from `rng` alone."""
    blocks: Any = net.blocks
    if config.family == "resnet":
        stages = 4
        return {
            "d": [rng.choice([min(config.d), max(config.d)])]
            + [rng.choice(config.d) for _ in range(stages)],
            "e": [rng.choice(config.e) for _ in blocks],
            "w": [rng.randrange(len(config.w)) for _ in range(stages + 2)],
        }
    count = len(blocks) - 1
    groups: Any = net.block_group_info
    return {
        "ks": [rng.choice(config.ks) for _ in range(count)],
        "e": [rng.choice(config.e) for _ in range(count)],
        "d": [rng.choice(config.d) for _ in groups],
    }


def activate(net: torch.nn.Module, genes: Genes) -> None:
    """Make `net(x)` compute the subnet of `genes`."""
    set_active: Any = net.set_active_subnet
    set_active(**genes)


@contextlib.contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 on GPUs, plain float32 on CPUs."""
    if device.type == "cuda":
        with torch.autocast("cuda", torch.bfloat16):
            yield
    else:
        yield


def backward_sandwich(
    net: torch.nn.Module,
    config: SupernetConfig,
    images: torch.Tensor,
    labels: torch.Tensor,
    subnets: list[Genes],
    label_smoothing: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Accumulate gradients of the largest subnet and of `subnets`, which imitate it.

    `images` is `n x 3 x r x r`, `labels` `n`. Returns the largest's loss and its number of
    correct answers, both on the device (reading them would wait for it).
    """
    scale = 1.0 / (1 + len(subnets))
    activate(net, extreme(config, largest=True))
    with mixed_precision(images.device):
        logits = net(images)
    logits = logits.float()
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    torch.autograd.backward(loss * scale)
    teacher = logits.detach().softmax(1)
    correct = (logits.detach().argmax(1) == labels).sum()
    for genes in subnets:
        activate(net, genes)
        with mixed_precision(images.device):
            answer = net(images)
        torch.autograd.backward(F.cross_entropy(answer.float(), teacher) * scale)
    return loss.detach(), correct
