"""Logits of many images through an executor, a slice at a time, and what they say of labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosinian.data.progress import Progress
from autosinian.errors import InputError
from autosinian.int4.executor import Executor, check_images
from autosinian.int4.network import Network


@dataclass(frozen=True)
class Top1:
    """How many of `samples` images had their label as the largest scaled logit."""

    correct: int
    samples: int

    @property
    def accuracy(self) -> float:
        """The fraction."""
        return self.correct / self.samples


def all_logits(executor: Executor, images: NDArray[np.int8], step: int = 64) -> NDArray[np.int32]:
    """Logits before scaling, `N x classes`, of `images`, `step` at a time, with progress told."""
    check_images(images, executor.input_shape)
    out = np.empty((len(images), executor.classes), np.int32)
    progress = Progress("images", len(images))
    for start in range(0, len(images), step):
        part = np.asarray(images[start : start + step])
        out[start : start + len(part)] = executor.logits(part)
        progress.advance(start + len(part))
    return out


def scaled(network: Network, logits: NDArray[np.int32]) -> NDArray[np.float32]:
    """`logits / out_scale[class]`, in float32 as the format's `s32f32f32` says."""
    result: NDArray[np.float32] = logits.astype(np.float32) / network.out_scale
    return result


def top1(network: Network, logits: NDArray[np.int32], labels: NDArray[np.int64]) -> Top1:
    """Compare the largest scaled logit, the first of equals, with `labels`."""
    if labels.shape != logits.shape[:1]:
        raise InputError(f"labels must be one an image ({len(logits)}), got {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < network.classes:
        raise InputError(
            f"labels must be 0 to {network.classes - 1}, got {labels.min()} to {labels.max()}"
        )
    found = scaled(network, logits).argmax(1)
    return Top1(int((found == labels).sum()), len(labels))
