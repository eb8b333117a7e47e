"""A classification data set on the training device, and its exact int8 images for evaluation."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from autosinian.data.dataset import Dataset
from autosinian.data.preprocessing import Preprocessing
from autosinian.data.roles import Role
from autosinian.data.samples import Samples
from autosinian.errors import InputError
from autosinian.supernet.training.augmentation import normalise

LARGEST_INT8 = 127
DECODING_THREADS = 8


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 `N x 3 x h x w`, and labels, `N`, on the device."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


class ImageSet:
    """The roles of `dataset` in memory, enlarged to `resolution` when they are used.

    Trained on are the images of role `train` (`batch_norm` of a data set that has no more, as the
    shipped part of Fashion-MNIST); `calibration` gives ranges, `search` decides, `validation`
    gives final figures only. `limit` takes the first so many of a shuffle of each.
    """

    def __init__(
        self, dataset: Dataset, resolution: int, device: torch.device, limit: int | None = None
    ) -> None:
        self.dataset, self.resolution, self.device = dataset, resolution, device
        self.rule = dataset.preprocessing(resolution)
        self._mean = torch.tensor(self.rule.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.rule.std, device=device).view(1, 3, 1, 1)
        self._limit = limit
        self.trained_role, self.train = self._train()
        self.calibration = self._split("calibration")
        self.search = self._split("search")
        # What a pixel can be at most, so that no image saturates.
        ends = [(end - m) / s for m, s in zip(self.rule.mean, self.rule.std, strict=True)
                for end in (0.0, 1.0)]  # fmt: skip
        self.input_scale = max(abs(end) for end in ends) / LARGEST_INT8

    @cached_property
    def validation(self) -> Split:
        """The images that give final figures only."""
        return self._split("validation")

    def _train(self) -> tuple[Role, Split]:
        try:
            return "train", self._split("train")
        except InputError:
            # Without a folder Fashion-MNIST has its shipped part only, whose images for batch
            # norm are training images as well.
            return "batch_norm", self._split("batch_norm")

    def _split(self, role: Role) -> Split:
        samples = self.dataset.samples(role)
        if samples.labels is None:
            raise InputError(f"`{self.dataset.name}` has no labels for {role}")
        # Shuffled: roles are sorted by class.
        order = np.random.default_rng(0).permutation(len(samples))[: self._limit]
        chosen = samples.take(order)
        assert chosen.labels is not None
        pixels = torch.from_numpy(_read(chosen)).to(self.device)
        return Split(pixels.permute(0, 3, 1, 2).contiguous(), _on(chosen.labels, self.device))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 or [0, 255] float `n x 3 x h x w` to normalised float, enlarged, channels last."""
        small = normalise(images, images.shape[-1], self._mean, self._std)
        small = small.contiguous(memory_format=torch.channels_last)
        if small.shape[-1] == self.resolution:
            return small
        # Only a smaller image needs smoothing, and enlarging is faster without.
        return F.interpolate(
            small,
            size=(self.resolution, self.resolution),
            mode="bilinear",
            align_corners=False,
            antialias=small.shape[-1] > self.resolution,
        )

    def steps(self, normalised: torch.Tensor) -> torch.Tensor:
        """Normalised images in whole int8 steps of `input_scale`, as floats."""
        whole = torch.round(normalised / self.input_scale)
        return whole.clamp_(-LARGEST_INT8, LARGEST_INT8)

    @property
    def int8_rule(self) -> Preprocessing:
        """The rule that makes the integer model's input of an image file."""
        return replace(self.rule, dtype="int8", scale=self.input_scale)

    def int8_images(self, split: Split) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """The integer model's input, `N x 3 x r x r`, and labels, by the data room's own rule."""
        pixels = split.images.permute(0, 2, 3, 1).cpu().numpy()
        inputs = np.empty((len(pixels), *self.int8_rule.shape), np.int8)
        rule = self.int8_rule
        for position, image in enumerate(pixels):
            inputs[position] = rule.apply(Image.fromarray(image))
        return inputs, split.labels.cpu().numpy()


def _read(samples: Samples) -> NDArray[np.uint8]:
    """All images in memory, `N x h x w x 3`; `InputError` where their sizes differ."""

    def read(position: int) -> NDArray[np.uint8]:
        return np.asarray(samples.read(position))

    shape = read(0).shape
    images = np.empty((len(samples), *shape), np.uint8)
    # Decoding lets other threads run.
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for position, image in enumerate(pool.map(read, range(len(samples)))):
            if image.shape != shape:
                raise InputError(
                    f"images must have one size to be fine-tuned on, but "
                    f"`{samples.identities[position]}` is {image.shape[1]} x {image.shape[0]} and "
                    f"the first is {shape[1]} x {shape[0]}"
                )
            images[position] = image
    return images


def _on(labels: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(labels).to(device)


def open_images(
    name: str, path: Path | None, resolution: int, device: torch.device, limit: int | None
) -> ImageSet:
    """The named data set on `device`; raises `InputError` for one that cannot be trained on."""
    from autosinian.data.catalogue import open_dataset

    return ImageSet(open_dataset(name, path), resolution, device, limit)
