"""An executor as sessions call it: images are read where they lie, and logits are scaled."""

import torch

from autosinian.int4.gpu.executor import Executor


class ServedNetwork:
    """Implements `engine.torch_lane.RowNetwork`; `scale` is float32, `classes`."""

    def __init__(self, executor: Executor, scale: torch.Tensor) -> None:
        self._executor, self._scale = executor, scale

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of `images`, int8, `n x C x H x W`."""
        return self._run(images, None)

    def of_rows(self, placed: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Logits of the images `numbers` (int64, `n`) of `placed`, int8, `N x CHW`."""
        return self._run(placed.view(-1, *self._executor.input_shape), numbers)

    def _run(self, images: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        self._executor.input, self._executor.rows = images, rows
        self._executor.run()
        return self._executor.output / self._scale
