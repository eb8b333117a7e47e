"""The images that accuracy is measured on, made once and read by every process."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.content import atomic_file
from autosinian.data.cifar import Cifar10
from autosinian.data.roles import Role
from autosinian.data.samples import Samples
from autosinian.supernet import InputRule

HELD_OUT: tuple[Role, ...] = ("search", "calibration")
"""Roles whose images were never trained on; the test split is not among them."""
BATCH_NORM_IMAGES = 1000


def prepare(
    archive: Path, rule: InputRule, resolutions: tuple[int, ...], folder: Path, limit: int | None
) -> None:
    """Write `R-images.npy`, `R-batch_norm.npy` (`N x r x r x 3` uint8) and `labels.npy`.

    Images are resized as the product does it. `limit` keeps so many held-out images, of a
    fixed shuffle; what is in `folder` is not made again.
    """
    names = [f"{r}-{what}.npy" for r in resolutions for what in ("images", "batch_norm")]
    if all((folder / name).exists() for name in (*names, "labels.npy")):
        return
    data = Cifar10(archive)
    held_out = [data.samples(role) for role in HELD_OUT]
    labels = np.concatenate([s.labels for s in held_out if s.labels is not None])
    order = np.random.default_rng(0).permutation(len(labels))[:limit]
    batch_norm = data.samples("batch_norm").first_of_shuffle(BATCH_NORM_IMAGES)
    for resolution in resolutions:
        path = folder / f"{resolution}-images.npy"
        if not path.exists():
            everything = np.concatenate([_crops(s, rule, resolution) for s in held_out])
            _save(folder / f"{resolution}-batch_norm.npy", _crops(batch_norm, rule, resolution))
            _save(path, everything[order])
    _save(folder / "labels.npy", labels[order])


def _crops(samples: Samples, rule: InputRule, resolution: int) -> NDArray[np.uint8]:
    preprocessing = rule.at(resolution)
    return np.stack([preprocessing.crop(samples.read(i)) for i in range(len(samples))])


def _save(path: Path, array: NDArray[np.uint8] | NDArray[np.int64]) -> None:
    with atomic_file(path) as temporary:
        np.save(temporary, array)


class Images:
    """Normalised images on a device, by resolution, in channels-last layout."""

    def __init__(
        self,
        folder: Path,
        rule: InputRule,
        resolutions: tuple[int, ...],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.labels = torch.from_numpy(np.load(folder / "labels.npy")).to(device)
        mean = torch.tensor(rule.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(rule.std, device=device).view(1, 3, 1, 1)

        def load(name: str) -> torch.Tensor:
            pixels = torch.from_numpy(np.load(folder / name)).to(device).permute(0, 3, 1, 2)
            chunks = [((c.float() / 255 - mean) / std).to(dtype) for c in torch.split(pixels, 500)]
            return torch.cat(chunks).contiguous(memory_format=torch.channels_last)

        self.held_out = {r: load(f"{r}-images.npy") for r in resolutions}
        self.batch_norm = {r: load(f"{r}-batch_norm.npy") for r in resolutions}
