"""Train a float network from random weights: what the integers start from and are compared with."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.images import ImageSet, Split
from autosinian.int4.finetune.record import Record
from autosinian.int4.finetune.schedule import Clock, Schedule
from autosinian.supernet.training.augmentation import Augmentation

WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1
MOMENTUM = 0.9
EMA_EPOCHS = 1.0
AUGMENTATION = Augmentation(affine=0.25, colour=0.1, erase=0.25)


def train_float(
    module: torch.nn.Module, data: ImageSet, schedule: Schedule, record: Record, seed: int = 0
) -> tuple[torch.nn.Module, float]:
    """Train `module` in place by SGD; gives the average of its weights, and the epochs done.

    bfloat16 autocast and channels last on a GPU; batch-norm statistics are averaged as the weights
    are.
    """
    device = data.device
    torch.manual_seed(seed)
    module.to(device).to(memory_format=torch.channels_last).train()
    averaged = copy.deepcopy(module).eval()
    decay = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=schedule.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
    )
    generator = torch.Generator(device).manual_seed(seed)
    clock = Clock(schedule, len(data.train))
    order = torch.empty(0, dtype=torch.long, device=device)
    told, loss_sum = 0, torch.zeros((), device=device)
    while clock.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(clock.progress)
        if len(order) < schedule.batch_size:
            order = torch.randperm(len(data.train), generator=generator, device=device)
        chosen, order = order[: schedule.batch_size], order[schedule.batch_size :]
        images = data.augmented(data.train.images[chosen], AUGMENTATION, generator)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = module(images)
        loss = F.cross_entropy(
            logits.float(), data.train.labels[chosen], label_smoothing=LABEL_SMOOTHING
        )
        torch.autograd.backward(loss)
        optimizer.step()
        clock.step += 1
        _average(averaged, module, clock)
        loss_sum += loss.detach()
        if clock.step % clock.steps_per_epoch == 0 or clock.progress >= 1:
            steps, told = clock.step - told, clock.step
            record.log(
                stage="float",
                epoch=round(clock.epoch, 2),
                seconds=round(clock.seconds, 1),
                learning_rate=schedule.rate(clock.progress),
                loss=float(loss_sum) / steps,
                accuracy_search=float_accuracy(
                    averaged, data, data.search, half=device.type == "cuda"
                ),
            )
            record.left("training in float", clock.progress, clock.seconds)
            loss_sum.zero_()
    return averaged, clock.epoch


def _average(averaged: torch.nn.Module, module: torch.nn.Module, clock: Clock) -> None:
    """Exponential moving average over about `EMA_EPOCHS`, shorter at the start."""
    window = EMA_EPOCHS * clock.steps_per_epoch
    weight = max(1 / (1 + window), 1 / (1 + clock.step / 4))
    own, new = averaged.state_dict(), module.state_dict()
    floats = [key for key in own if own[key].is_floating_point()]
    torch._foreach_lerp_([own[key] for key in floats], [new[key] for key in floats], weight)


def float_accuracy(
    network: Callable[[torch.Tensor], torch.Tensor],
    data: ImageSet,
    split: Split,
    *,
    batch_size: int = 500,
    half: bool = False,
) -> float:
    """Part of `split` that `network` labels right, 0 to 1; in bfloat16 where `half`."""
    correct = torch.zeros((), device=data.device)
    with torch.no_grad(), torch.autocast(data.device.type, torch.bfloat16, enabled=half):
        for start in range(0, len(split), batch_size):
            logits = network(data.normalised(split.images[start : start + batch_size]))
            correct += (logits.argmax(1) == split.labels[start : start + batch_size]).sum()
    return float(correct) / len(split)
