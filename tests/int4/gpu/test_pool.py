"""The average over a map of any size, interpreted."""

import numpy as np
import pytest
import torch

from autosinian.int4.gpu.pool import average_pool


@pytest.mark.parametrize("pixels", [1, 49, 64, 100])
def test_the_average_of_a_map_is_rounded_to_nearest(pixels: int) -> None:
    values = np.random.default_rng(pixels).integers(0, 128, (2, pixels, 192)).astype(np.int8)
    means = torch.full((2, 192), -1, dtype=torch.int8)
    average_pool[(2, 2)](
        torch.from_numpy(values.ravel()),
        means,
        CHANNELS=192,
        PIXELS=pixels,
        DEPENDENT=False,
        PIXELS_BLOCK=64,
        BLOCK=128,
    )
    wanted = (values.astype(int).sum(1) + pixels // 2) // pixels
    np.testing.assert_array_equal(means.numpy(), wanted)
