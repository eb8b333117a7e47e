"""Fine-tuning on real images: it learns, scales included, and decides on held-out images."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autosinian.int4.finetune.batches import Batches
from autosinian.int4.finetune.float_training import float_optimizer, float_update
from autosinian.int4.finetune.folded import FoldedNetwork
from autosinian.int4.finetune.images import ImageSet, open_images
from autosinian.int4.finetune.integer_training import Teaching, fine_tune, integer_update
from autosinian.int4.finetune.loop import AUGMENTATION
from autosinian.int4.finetune.options import FinetuneOptions
from autosinian.int4.finetune.quantized import QuantizedNetwork
from autosinian.int4.finetune.ranges import activation_ranges
from autosinian.int4.finetune.record import LOG, Record
from autosinian.int4.finetune.run import Finetune
from autosinian.int4.finetune.schedule import Schedule
from autosinian.int4.finetune.sensitivity import Answers, sensitivities
from tests.int4.finetune.small_network import CLASSES, RESOLUTION, images, layers, quantized, resnet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return open_images("fashion_mnist", None, RESOLUTION, CPU, 64)


def ten_classes(data: ImageSet) -> FoldedNetwork:
    """A network whose answers differ from image to image."""
    network = resnet()
    torch.manual_seed(0)
    weight, bias = torch.randn(10, network.linear_weight.shape[1]) * 0.1, torch.zeros(10)
    network = FoldedNetwork(network.stem, network.layers, weight, bias)
    with torch.no_grad():
        bias -= network(data.normalised(data.train.images)).mean(0)
    return network


def calibrated(data: ImageSet, wider: float = 1) -> tuple[FoldedNetwork, QuantizedNetwork]:
    network = ten_classes(data)
    found = activation_ranges(network, data)
    ranges = {name: wider * value for name, value in found.items()}
    return network, QuantizedNetwork(network, layers(network), ranges, data.input_scale)


def test_gradients_reach_every_parameter() -> None:
    net = quantized(resnet())
    torch.autograd.backward(net(images()).square().sum())
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_gradient_of_a_last_bias_is_that_of_the_float_network() -> None:
    net = quantized(resnet())
    torch.autograd.backward(net(images())[:, 1].sum())
    assert net.linear.latent_bias.grad is not None
    expected = torch.zeros(CLASSES)
    expected[1] = len(images()) * net.linear.bias_step
    torch.testing.assert_close(net.linear.latent_bias.grad, expected)


def test_fine_tuning_brings_the_integers_nearer_to_the_float_network(
    data: ImageSet, tmp_path: Path
) -> None:
    network, net = calibrated(data, wider=3)
    answers = Answers.of(network, data, 64)
    before = answers.divergence(net)
    schedule = Schedule(epochs=5, learning_rate=0.03, batch_size=16)
    record = Record(tmp_path, CPU)
    epochs = fine_tune(net, network, data, schedule, record, stage="int4", teaching=Teaching(1.0))
    assert epochs == 5
    assert answers.divergence(net) < 0.9 * before
    log = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("learned", [True, False])
def test_scales_change_only_where_they_are_learned(
    data: ImageSet, tmp_path: Path, learned: bool
) -> None:
    network, net = calibrated(data)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    teaching = Teaching(learn_ranges=learned)
    schedule = Schedule(epochs=0.25, learning_rate=0.01, batch_size=16)
    fine_tune(net, network, data, schedule, Record(tmp_path, CPU), stage="", teaching=teaching)
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    scales = {name for name in before if name.endswith(("log_range", "log_step"))}
    assert bool(changed & scales) == learned
    assert changed >= {name for name in before if name.endswith("latent")}


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the operators that would make the host wait for a device."""

    NAMES = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "masked_select")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []
        self.all = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.all += 1
        if func.overloadpacket.__name__ in self.NAMES:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_neither_a_batch_nor_an_update_waits_for_the_device(data: ImageSet) -> None:
    network, net = calibrated(data)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(10)
    )
    batches = Batches(data, 8, AUGMENTATION, 0)
    batches.next()
    module(batches.images)
    rate = torch.tensor(0.1)
    adam = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
    updates = [
        float_update(module, float_optimizer(module, rate), CPU),
        integer_update(net, adam, network, data, Teaching()),
    ]
    for update in updates:
        update(batches.images, batches.labels)  # the optimizer makes its state
        with Waits() as waits:
            Batches(data, 8, AUGMENTATION, 0).next()
            update(batches.images, batches.labels)
        assert waits.all > 100
        assert waits.found == []
    with Waits() as waits:
        rate.item()
    assert len(waits.found) == 1


def test_sensitivity_is_what_one_layer_in_4_bits_costs(data: ImageSet) -> None:
    network = ten_classes(data)
    ranges = activation_ranges(network, data)
    found = sensitivities(network, layers(network), ranges, data, 32)
    assert [one.harm for one in found] == sorted((one.harm for one in found), reverse=True)
    names = [layer.name for layer in layers(network)]
    worst = found[0]

    def measured(int8: list[str]) -> float:
        net = QuantizedNetwork(network, layers(network), ranges, data.input_scale, int8)
        return Answers.of(network, data, 32).divergence(net)

    rest = [name for name in names if name != worst.layer.name]
    assert worst.harm == pytest.approx(measured(rest) - measured(names), rel=1e-4)
    assert worst.harm > 0


def test_inputs_in_int8_are_those_that_training_sees(data: ImageSet) -> None:
    inputs, labels = data.int8_images(data.search)
    assert inputs.dtype == np.int8 and inputs.shape == (64, 3, RESOLUTION, RESOLUTION)
    seen = data.steps(data.normalised(data.search.images)).numpy()
    # Two libraries enlarge: a grey level apart at most.
    assert np.abs(inputs - seen).max() <= np.ceil(1 / 255 / min(data.rule.std) / data.input_scale)
    assert np.abs(inputs).max() == 127
    np.testing.assert_array_equal(labels, data.search.labels.numpy())


def test_the_splits_that_decide_and_that_judge_do_not_overlap(data: ImageSet) -> None:
    splits = (data.train, data.calibration, data.search, data.validation)
    pixels = [image.numpy().tobytes() for split in splits for image in split.images]
    assert len(set(pixels)) == len(pixels) == 4 * 64


@pytest.mark.parametrize(("seconds", "count"), [(-1.0, 1), (1e6, 2)])
def test_networks_with_8_bit_layers_are_left_out_where_no_time_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: float, count: int
) -> None:
    images = open_images("fashion_mnist", None, RESOLUTION, CPU, 8)
    few = Schedule(1, 0.01, 8)
    options = FinetuneOptions(
        out=tmp_path,
        resolution=RESOLUTION,
        float_schedule=few,
        integer_schedule=few,
        mixed_schedule=few,
        depths=(1, 1, 1, 1),
        width_per_group=4,
        int8_counts=(2,),
        sensitivity_images=8,
        reference_images=2,
    )
    work = Finetune(options, images, deadline=time.monotonic() + seconds)
    work.run()
    assert len(work.variants) == count
    told = capsys.readouterr().err
    assert ("no time is left for 2 layers in int8" in told) == (count == 1)
