"""Accuracy of subnets before and after batch-norm recalibration: the record of a training."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.supernet.batch_norm import recalibrate_from_batches
from autosinian.supernet.families import SupernetConfig
from autosinian.supernet.training.augmentation import normalise
from autosinian.supernet.training.images import TrainingImages
from autosinian.supernet.training.sandwich import Genes, activate, extreme, sample


class Judge:
    """Holds images on a device and judges nets on them."""

    def __init__(self, data: TrainingImages, device: torch.device, batch_size: int = 1000) -> None:
        self.device = device
        self.batch_size = batch_size
        self.mean = torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(data.std, device=device).view(1, 3, 1, 1)
        self.batch_norm = self._place(data.batch_norm_images)
        self.held = self._place(data.held_images), self._place(data.held_labels)
        self.test = self._place(data.test_images), self._place(data.test_labels)

    def _place(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def accuracy(
        self, net: torch.nn.Module, resolution: int, part: tuple[torch.Tensor, torch.Tensor]
    ) -> float:
        """Share of `part` that `net` labels right at `resolution`, in fp32."""
        images, labels = part
        net.eval()
        right = torch.zeros((), dtype=torch.long, device=self.device)
        with torch.no_grad():
            for start in range(0, len(images), self.batch_size):
                batch = images[start : start + self.batch_size]
                logits = net(normalise(batch, resolution, self.mean, self.std))
                right += (logits.argmax(1) == labels[start : start + self.batch_size]).sum()
        return float(right) / len(images)

    def recalibrate(self, net: torch.nn.Module, resolution: int) -> None:
        """Batch-norm statistics of `net` at `resolution` from images that it was trained on."""

        def batches() -> Iterator[torch.Tensor]:
            for start in range(0, len(self.batch_norm), 200):
                batch = self.batch_norm[start : start + 200]
                yield normalise(batch, resolution, self.mean, self.std)

        recalibrate_from_batches(net, batches())


def extract(net: torch.nn.Module, genes: Genes) -> torch.nn.Module:
    """The subnet of `genes` as a net of its own."""
    activate(net, genes)
    get_active: Any = net.get_active_subnet
    subnet: torch.nn.Module = get_active(preserve_weight=True)
    return subnet.eval()


def subnet_figures(
    net: torch.nn.Module,
    config: SupernetConfig,
    judge: Judge,
    resolutions: tuple[int, ...],
    *,
    random_subnets: int = 50,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Test accuracy of the largest, the smallest (each resolution) and random subnets."""
    from torch.utils.flop_counter import FlopCounterMode

    rng = random.Random(seed)
    plan: list[tuple[str, Genes, int]] = []
    for resolution in sorted(resolutions, reverse=True):
        plan.append(("largest", extreme(config, largest=True), resolution))
        plan.append(("smallest", extreme(config, largest=False), resolution))
    for _ in range(random_subnets):
        plan.append(("random", sample(config, net, rng), rng.choice(resolutions)))
    rows = []
    for kind, genes, resolution in plan:
        subnet = extract(net, genes)
        before = judge.accuracy(subnet, resolution, judge.test)
        judge.recalibrate(subnet, resolution)
        image = torch.zeros(1, 3, resolution, resolution, device=judge.device)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            subnet(image)
        rows.append(
            {
                "subnet": kind,
                "genes": genes,
                "resolution": resolution,
                "macs": counter.get_total_flops() // 2,
                "parameters": sum(p.numel() for p in subnet.parameters()),
                "test_accuracy_before": before,
                "test_accuracy": judge.accuracy(subnet, resolution, judge.test),
                "held_accuracy": judge.accuracy(subnet, resolution, judge.held),
            }
        )
    return rows
