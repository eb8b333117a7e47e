"""Matrix products are exact on every processor, also on those whose instructions saturate."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autosinian.int4.exact_gemm import ExactWeights

EXTREMES = (127, -127, -128)


def product(rows: NDArray[np.int8], weight: NDArray[np.int8]) -> NDArray[np.int64]:
    out = torch.empty((len(rows), len(weight)), dtype=torch.int32)
    ExactWeights(weight).multiply(torch.from_numpy(rows), out)
    return out.numpy().astype(np.int64)


def check_everything() -> None:
    """All extremes and random values, of 4 and 8 bits, in sizes that fill no register."""
    rng = np.random.default_rng(0)
    for count, depth, columns in ((1, 1, 1), (17, 147, 64), (33, 4608, 5), (5, 64, 257)):
        rows = [rng.integers(-128, 128, (count, depth)).astype(np.int8)]
        rows += [np.full((count, depth), value, np.int8) for value in EXTREMES]
        weights = [rng.integers(-128, 128, (columns, depth)).astype(np.int8)]
        weights += [rng.integers(-8, 8, (columns, depth)).astype(np.int8)]
        weights += [np.full((columns, depth), v, np.int8) for v in (*EXTREMES, 64, -64, 7, -8)]
        for left in rows:
            for weight in weights:
                wanted = left.astype(np.int64) @ weight.astype(np.int64).T
                np.testing.assert_array_equal(product(left, weight), wanted)


def test_products_are_exact_here() -> None:
    check_everything()


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_products_are_exact_with_older_instructions(instructions: str) -> None:
    # oneDNN reads it when it is loaded, so a process of its own.
    code = "from tests.int4.test_exact_gemm import check_everything; check_everything()"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
