"""The accuracy of written integers, and the proof that the way it was found is exact."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import AutosinianError
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.finetune.emulation import correct_share, emulated_logits
from autosinian.int4.finetune.images import ImageSet
from autosinian.int4.network import Network

JudgedRole = Literal["search", "validation"]


class Judge:
    """Holds the int8 images of `data` and judges networks of integers on them.

    All images are run in float64 on the training device; the first `reference_images` of the
    validation split also on the processor in integers, and both must give the same bits.
    """

    def __init__(self, data: ImageSet, reference_images: int) -> None:
        self._data, self._reference_images = data, reference_images
        self._images: dict[JudgedRole, tuple[NDArray[np.int8], NDArray[np.int64]]] = {}

    def accuracy(self, network: Network, role: JudgedRole) -> float:
        """Part of the role's images that `network` labels right, 0 to 1."""
        images, labels = self._of(role)
        logits = emulated_logits(network, images, self._data.device)
        return correct_share(network, logits, labels)

    def prove(self, network: Network) -> int:
        """Compare with the CPU reference bit by bit; gives the number of images compared.

        Raises `AutosinianError` where a logit differs.
        """
        images = self._of("validation")[0][: self._reference_images]
        emulated = emulated_logits(network, images, self._data.device)
        executor = CpuExecutor(network)
        try:
            reference = executor.logits(images)
        finally:
            executor.close()
        different = int((emulated != reference).any(1).sum())
        if different:
            raise AutosinianError(
                f"the device's integers must equal the processor's, but {different} of "
                f"{len(images)} images differ; report this with the device's name"
            )
        return len(images)

    def _of(self, role: JudgedRole) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        if role not in self._images:
            split = self._data.validation if role == "validation" else self._data.search
            self._images[role] = self._data.int8_images(split)
        return self._images[role]
