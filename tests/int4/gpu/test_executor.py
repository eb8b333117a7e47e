"""Whole networks through interpreted kernels give the oracle's bits."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from autosinian.int4.configurations import configurations, refusal
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


@pytest.mark.parametrize("flavour", [("chained",), ("chained", "residual_first")])
def test_chained_launches_are_exact(flavour: tuple[str, ...], device: Device) -> None:
    network = small_network(widths=(64, 64), seed=11)
    planned = plan(network)
    executor = Executor(PreparedNetwork(planned, device), 2)
    executor.choices |= {
        layer.name: next(
            choice
            for choice in configurations().values()
            if all(getattr(choice, name) for name in flavour)
            and refusal(choice, layer.shape, device.shared_bytes) is None
        )
        for layer in planned.layers
        if layer.shape.follower is not None
        and (layer.shape.residual is not None)
        and (flavour == ("chained",) or layer.shape.residual.kind == "identity")
    }
    images = random_images(network, 2)
    assert len(executor.launched()) < len(planned.layers)
    assert np.array_equal(executor.logits(images), oracle.logits(network, images))


def test_gpus_without_integer_cores_are_exact(device: Device) -> None:
    network = small_network(eight_bit=True, seed=9)
    turing = replace(device, capability=(7, 5))
    images = random_images(network, 2)
    executor = Executor(PreparedNetwork(plan(network), turing), 2)
    assert np.array_equal(executor.logits(images), oracle.logits(network, images))


def test_weights_that_stay_are_exact_beside_a_downsample(device: Device) -> None:
    network = small_network(widths=(64, 64), depth=1, seed=12)
    planned = plan(network)
    executor = Executor(PreparedNetwork(planned, device), 2)
    stationary = {
        layer.name: next(
            choice
            for choice in configurations().values()
            if choice.stationary and refusal(choice, layer.shape, device.shared_bytes) is None
        )
        for layer in planned.layers
        if layer.name.endswith("_conv3")
    }
    assert all(layer.shape.residual for layer in planned.layers if layer.name in stationary)
    executor.choices |= stationary
    images = random_images(network, 2)
    assert np.array_equal(executor.logits(images), oracle.logits(network, images))


@pytest.mark.parametrize("flavour", [("stationary",), ("near",), ("near", "stationary")])
def test_flavours_for_several_taps_are_exact(flavour: tuple[str, ...], device: Device) -> None:
    network = small_network(widths=(32, 64), depth=1, eight_bit=True, seed=13)
    planned = plan(network)
    executor = Executor(PreparedNetwork(planned, device), 2)
    stationary = {
        layer.name: next(
            choice
            for choice in configurations().values()
            if all(getattr(choice, name) for name in flavour)
            and refusal(choice, layer.shape, device.shared_bytes) is None
        )
        for layer in planned.convolutions()
        if layer.shape.kernel != (1, 1)
    }
    assert {"stem1", "layer1_residual1_conv2", "layer2_residual1_conv2"} <= set(stationary)
    executor.choices |= stationary
    images = random_images(network, 2)
    assert np.array_equal(executor.logits(images), oracle.logits(network, images))


def test_images_and_weights_that_cannot_be_written_are_read_in_silence(device: Device) -> None:
    network = small_network(widths=(16,), depth=1, seed=14)
    for conv in network.convs():
        conv.weight.flags.writeable = conv.bias.flags.writeable = False
    images = random_images(network, 2)
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = Executor(PreparedNetwork(plan(network), device), 2).logits(images)
    assert np.array_equal(logits, oracle.logits(network, images))
