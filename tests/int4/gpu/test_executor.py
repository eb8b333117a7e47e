"""Whole networks through interpreted kernels give the oracle's bits."""

import numpy as np
import pytest

from autosinian.int4.gpu.device import Device, open_device
from autosinian.int4.gpu.executor import Executor, PreparedNetwork
from autosinian.int4.gpu.plan import plan
from tests.int4.gpu import oracle
from tests.int4.small_networks import VARIANTS, random_images, small_network


@pytest.fixture(scope="module")
def device() -> Device:
    return open_device()


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_exact(variant: str, device: Device) -> None:
    network = small_network(**VARIANTS[variant])  # type: ignore[arg-type]
    images = random_images(network, 2)
    executor = Executor(PreparedNetwork(plan(network), device), 2)
    logits = executor.logits(images)
    assert np.array_equal(logits, oracle.logits(network, images))
    assert len(np.unique(logits)) > 5
