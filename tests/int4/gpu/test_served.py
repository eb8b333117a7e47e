"""What commands and engine make of the kernels: executors, sessions' networks, autoconfig."""

import numpy as np
import pytest
import torch

from autosinian.engine.torch_lane import RowNetwork
from autosinian.errors import InputError
from autosinian.int4.autoconfig import Autoconfig, autoconfig_names
from autosinian.int4.devices import open_executor
from autosinian.int4.gpu.chosen import chosen
from autosinian.int4.gpu.device import open_device
from autosinian.int4.gpu.plan import plan
from autosinian.int4.model import Model
from autosinian.int4.predict import scaled
from autosinian.int4.serving import networks_on_gpu
from tests.int4.gpu import oracle
from tests.int4.small_networks import random_images, small_network

NETWORK = small_network(widths=(16,), depth=2, eight_bit=True, seed=7)
PLAN, SHARED = plan(NETWORK), open_device().shared_bytes


def ids(**changes: int) -> Autoconfig:
    """What each launch has by default, changed."""
    from autosinian.int4.promising import default_configuration

    found = dict.fromkeys(autoconfig_names(NETWORK), 0)
    for layer in PLAN.layers:
        for name in layer.line_names:
            found[name] = default_configuration(layer.shape, 4, SHARED).id
    return Autoconfig(found | changes)


def test_an_executor_of_any_batch_gives_the_exact_logits() -> None:
    images = random_images(NETWORK, 3)
    given = open_executor(NETWORK, "cuda", batch_size=2).logits(images)
    np.testing.assert_array_equal(given, oracle.logits(NETWORK, images))


def test_a_sessions_network_gives_scaled_logits_of_images_where_they_lie() -> None:
    images = random_images(NETWORK, 4)
    _, make = networks_on_gpu(Model(NETWORK, ids()), (4,))
    given = make()[4](torch.from_numpy(images)).numpy()
    wanted = scaled(NETWORK, oracle.logits(NETWORK, images).astype(np.int32))
    np.testing.assert_array_equal(given, wanted)


def test_a_sessions_network_reads_placed_images_by_their_numbers() -> None:
    images, numbers = random_images(NETWORK, 5), np.array([4, 0, 2, 2])
    _, make = networks_on_gpu(Model(NETWORK, ids()), (4,))
    network = make()[4]
    assert isinstance(network, RowNetwork)
    given = network.of_rows(torch.from_numpy(images.reshape(5, -1)), torch.from_numpy(numbers))
    wanted = scaled(NETWORK, oracle.logits(NETWORK, images[numbers]).astype(np.int32))
    np.testing.assert_array_equal(given.numpy(), wanted)
    # The next batch is of images again.
    np.testing.assert_array_equal(network(torch.from_numpy(images[numbers])).numpy(), wanted)


def test_an_autoconfig_chooses_the_configuration_of_each_launch() -> None:
    found = chosen(PLAN, ids(), SHARED)
    assert set(found) == {layer.name for layer in PLAN.layers}
    assert chosen(PLAN, None, SHARED) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layer1_residual1_ds_conv": 1001}, "are one launch and must have one id"),
        ({"layer1_residual1_conv1": 999_999}, "999999 is not in the table"),
    ],
)
def test_ids_that_do_not_fit_are_refused_in_one_line(changes: dict[str, int], told: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen(PLAN, ids(**changes), SHARED)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_whose_tiles_do_not_fit_the_shape_is_refused_with_the_reason() -> None:
    from autosinian.int4.configurations import configurations, refusal

    layer = PLAN.layers[0]
    unfit = next(
        choice.id
        for choice in configurations().values()
        if refusal(choice, layer.shape, SHARED) is not None
    )
    with pytest.raises(InputError, match=f"configuration {unfit} does not fit layer {layer.name}"):
        chosen(PLAN, ids(**{layer.name: unfit}), SHARED)
