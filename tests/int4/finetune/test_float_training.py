"""The step that a GPU captures does what a loop written out by hand does, number by number."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from autosinian.int4.finetune.average import WeightAverage
from autosinian.int4.finetune.batches import Batches
from autosinian.int4.finetune.float_training import (
    EMA_EPOCHS,
    LABEL_SMOOTHING,
    MOMENTUM,
    WEIGHT_DECAY,
    float_optimizer,
    train_float,
)
from autosinian.int4.finetune.graphed import GraphedStep
from autosinian.int4.finetune.images import ImageSet, open_images
from autosinian.int4.finetune.loop import AUGMENTATION
from autosinian.int4.finetune.record import PROFILE, Record
from autosinian.int4.finetune.schedule import Schedule
from autosinian.int4.finetune.sources import build_resnet
from autosinian.supernet.training.augmentation import Augmentation, normalise

CPU = torch.device("cpu")
PLAIN = Augmentation(flip=False, shift=0, affine=0, colour=0, erase=0)


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return open_images("fashion_mnist", None, 64, CPU, 48)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_resnet("resnet50", 10, depths=(1, 1, 1, 1), width_per_group=4)


def by_hand(
    module: torch.nn.Module, data: ImageSet, schedule: Schedule, steps: int
) -> torch.nn.Module:
    """SGD with Nesterov's momentum and an average over the state dict, operator by operator."""
    module.to(memory_format=torch.channels_last).train()
    averaged = copy.deepcopy(module).eval()
    per_epoch = len(data.train) // schedule.batch_size
    batches = Batches(data, schedule.batch_size, AUGMENTATION, 0)
    buffers: dict[str, torch.Tensor] = {}
    for step in range(steps):
        rate = schedule.rate(step / steps)
        batches.next()
        module.zero_grad()
        loss = F.cross_entropy(
            module(batches.images), batches.labels, label_smoothing=LABEL_SMOOTHING
        )
        torch.autograd.backward(loss)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None
                gradient = parameter.grad.clone()
                if parameter.ndim > 1:
                    gradient += WEIGHT_DECAY * parameter
                buffer = MOMENTUM * buffers.get(name, torch.zeros(())) + gradient
                buffers[name] = buffer
                parameter.sub_(rate * (gradient + MOMENTUM * buffer))
            weight = max(1 / (1 + EMA_EPOCHS * per_epoch), 1 / (1 + (step + 1) / 4))
            for own, new in zip(
                averaged.state_dict().values(), module.state_dict().values(), strict=True
            ):
                if own.is_floating_point():
                    own.lerp_(new, weight)
    return averaged


def test_a_training_is_the_one_written_out_by_hand(data: ImageSet, tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, learning_rate=0.005, batch_size=16)
    found, epochs = train_float(network(), data, schedule, Record(tmp_path, CPU), seed=0)
    expected = by_hand(network(), data, schedule, 3)
    assert epochs == 1
    first, changes = network().state_dict(), []
    for name, value in expected.state_dict().items():
        if value.is_floating_point():
            change = float((value - first[name]).abs().max())
            error = float((found.state_dict()[name] - value).abs().max())
            assert error <= 0.03 * change + 1e-7, name
            changes.append(change)
    assert sum(change > 1e-5 for change in changes) > 50


def test_only_what_multiplies_decays() -> None:
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    optimizer = float_optimizer(layer, torch.tensor(0.1))
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    # Nesterov's first step is 1 + momentum times the gradient.
    shrunk = before[0] * (1 - 0.1 * WEIGHT_DECAY * (1 + MOMENTUM))
    torch.testing.assert_close(layer.weight.detach(), shrunk, rtol=0, atol=1e-8)
    assert torch.equal(layer.bias.detach(), before[1])


def test_a_profile_tells_of_a_step_and_teaches_nothing(data: ImageSet, tmp_path: Path) -> None:
    record = Record(tmp_path, CPU)
    schedule = Schedule(epochs=0.7, learning_rate=0.05, batch_size=16)
    found, _ = train_float(network(), data, schedule, record, profile=True)
    unprofiled, _ = train_float(network(), data, schedule, record)
    text = (tmp_path / PROFILE).read_text().splitlines()
    assert text[0].startswith("stage,what,calls,ms,device")
    rows = {line.split(",")[1]: line.split(",") for line in text[1:]}
    assert float(rows["a step"][3]) > 0 and float(rows["all kernels"][2]) > 100
    for name, value in unprofiled.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, msg=name)


def test_the_average_follows_weights_and_statistics() -> None:
    module = torch.nn.BatchNorm2d(2)
    average = WeightAverage(module, window=3.0)
    with torch.no_grad():
        module.weight.fill_(3.0)
        assert module.running_var is not None
        module.running_var.fill_(5.0)
    average.update()
    # The first step counts 1 / (1 + 1/4).
    own = average.module.state_dict()
    torch.testing.assert_close(own["weight"], torch.full((2,), 1 + 0.8 * 2.0))
    torch.testing.assert_close(own["running_var"], torch.full((2,), 1 + 0.8 * 4.0))
    before = own["weight"].clone()
    for _ in range(30):
        average.update()
    torch.testing.assert_close(own["weight"], torch.full((2,), 3.0), rtol=0, atol=1e-3)
    assert not torch.equal(before, own["weight"])


def test_every_image_comes_once_in_an_epoch_with_its_label(data: ImageSet) -> None:
    batches = Batches(data, 16, PLAIN, seed=3)
    own = data.normalised(data.train.images)
    seen = []
    place = batches.images.data_ptr()
    for _ in range(3):
        batches.next()
        assert batches.images.data_ptr() == place
        distance = (batches.images[:, None] - own[None]).abs().amax((2, 3, 4))
        which = distance.argmin(1)
        assert float(distance.amin(1).max()) < 1e-4
        torch.testing.assert_close(batches.labels, data.train.labels[which])
        seen.extend(which.tolist())
    assert sorted(seen) == list(range(48))


def test_a_seed_gives_the_same_batches_and_augmentation_changes_them(data: ImageSet) -> None:
    first, second = Batches(data, 16, AUGMENTATION, 5), Batches(data, 16, AUGMENTATION, 5)
    other = Batches(data, 16, AUGMENTATION, 6)
    for batches in (first, second, other):
        batches.next()
    torch.testing.assert_close(first.images, second.images)
    assert not torch.equal(first.images, other.images)
    assert first.images.is_contiguous(memory_format=torch.channels_last)
    before = first.images.clone()
    first.next()
    assert not torch.equal(before, first.images)


def test_a_batch_of_more_than_all_images_is_all_images(data: ImageSet) -> None:
    batches = Batches(data, 1000, PLAIN, seed=0)
    batches.next()
    assert len(batches.images) == len(batches.labels) == 48


def test_images_are_enlarged_as_the_rule_of_the_supernet_says(data: ImageSet) -> None:
    images = data.train.images[:8]
    mean = torch.tensor(data.rule.mean).view(1, 3, 1, 1)
    std = torch.tensor(data.rule.std).view(1, 3, 1, 1)
    expected = normalise(images, 64, mean, std)
    torch.testing.assert_close(data.normalised(images), expected, rtol=1e-5, atol=1e-5)


def test_on_a_processor_a_step_is_its_work() -> None:
    calls = []
    step = GraphedStep(lambda: calls.append(1), CPU)
    for _ in range(5):
        step()
    assert len(calls) == 5 and not step.captured


@pytest.mark.gpu
def test_a_graph_trains_as_the_steps_one_by_one_do() -> None:
    device = torch.device("cuda")

    def weights(captures: bool) -> tuple[torch.Tensor, bool]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 1).to(device)
        rate = torch.full((), 0.1, device=device)
        optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, fused=True)
        x = torch.zeros(8, 4, device=device)

        def work() -> None:
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(layer(x).square().mean())
            optimizer.step()

        step = GraphedStep(work, device)
        for number in range(10):
            x.copy_(torch.arange(32).view(8, 4).to(device) / (10 + number))
            rate.fill_(0.1 / (1 + number))
            if captures:
                step()
            else:
                work()
        return layer.weight.detach().clone(), step.captured

    graphed, captured = weights(True)
    eager, _ = weights(False)
    assert captured
    torch.testing.assert_close(graphed, eager)


@pytest.mark.gpu
def test_work_that_cannot_be_captured_runs_without_a_graph_and_is_said_once() -> None:
    device = torch.device("cuda")
    total = torch.zeros((), device=device)
    said: list[str] = []

    def work() -> None:
        total.add_(1)
        float(total)  # waits for the device: forbidden in a capture

    step = GraphedStep(work, device, said.append)
    for _ in range(8):
        step()
    assert float(total) == 8 and not step.captured
    assert len(said) == 1 and "without a CUDA graph" in said[0]
