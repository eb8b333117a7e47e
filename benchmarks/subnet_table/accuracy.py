"""Accuracy of subnets on held-out images, after batch-norm recalibration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autosinian.supernet import Supernet, cost, open_supernet
from subnet_table.folding import recalibrated
from subnet_table.images import Images
from subnet_table.subnets import subnet_of
from subnet_table.workers import Place, Row

FIELDS = (
    "subnet", "generation", "origin", "macs", "parameters", "correct", "images", "precision",
    "device", "torch", "date",
)  # fmt: skip


@dataclass(frozen=True)
class AccuracySettings:
    """What each worker needs: the checkpoint, the prepared images, how to run them."""

    supernet: Path
    images: Path
    batch_size: int
    half: bool
    origins: dict[str, tuple[int, str]]


class Accuracy:
    """Measures one subnet: extract, recalibrate, fold, classify."""

    def __init__(self, settings: AccuracySettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._half = settings.half
        self._dtype = torch.float16 if self._half else torch.float32
        self._supernet: Supernet = open_supernet(settings.supernet)
        self._images = Images(
            settings.images,
            self._supernet.preprocessing,
            self._supernet.resolutions,
            device,
            self._dtype,
        )

    @torch.inference_mode()
    def __call__(self, task: str) -> list[Row]:
        subnet = subnet_of(task)
        module = self._supernet.extract(subnet)
        paper = cost(module, subnet.resolution)
        network = recalibrated(module, self._images.batch_norm[subnet.resolution])
        network = network.to(self._device, self._dtype)
        size = self._settings.batch_size
        held_out, labels = self._images.held_out[subnet.resolution], self._images.labels
        correct = torch.zeros((), dtype=torch.int64, device=self._device)
        for images, truth in zip(
            torch.split(held_out, size), torch.split(labels, size), strict=True
        ):
            correct += (network(images).argmax(1) == truth).sum()
        generation, origin = self._settings.origins[task]
        return [
            {
                "subnet": task,
                "generation": generation,
                "origin": origin,
                "macs": paper.macs,
                "parameters": paper.parameters,
                "correct": int(correct),
                "images": len(labels),
                "precision": "fp16" if self._half else "fp32",
            }
        ]


def _check_once(place: Place, device: torch.device) -> None:
    if place.number == 0:
        from subnet_table.depthwise import check

        check(device)


def open_accuracy(place: Place, settings: AccuracySettings, _: Any) -> Accuracy:
    """In a worker: one thread each on the processor, as there are many workers."""
    torch.set_num_threads(1)
    device = torch.device(place.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        _check_once(place, device)
    return Accuracy(settings, device)
