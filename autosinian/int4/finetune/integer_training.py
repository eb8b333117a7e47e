"""Fine-tune a `QuantizedNetwork`: its integers forward, straight-through gradients backward."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.float_training import AUGMENTATION, float_accuracy
from autosinian.int4.finetune.images import ImageSet, Split
from autosinian.int4.finetune.quantized import QuantizedNetwork
from autosinian.int4.finetune.record import Record
from autosinian.int4.finetune.schedule import Clock, Schedule

LARGEST_NORM = 1.0
RANGE_RATE = 0.2
"""Learning rate of the logarithms of scales over that of weights in units of their steps."""


@dataclass(frozen=True)
class Teaching:
    """What the integers learn from: labels, and the float network's own answers.

    `distillation` is the weight of the Kullback-Leibler divergence from the float network (Hinton
    et al. 2015, "Distilling the Knowledge in a Neural Network"; temperature 1), the labels have the
    rest. Scales are learned too where `learn_ranges` (Esser et al. 2020, "Learned Step Size
    Quantization"), else they stay as calibrated.
    """

    distillation: float = 0.7
    learn_ranges: bool = True


def fine_tune(
    quantized: QuantizedNetwork,
    teacher: torch.nn.Module,
    data: ImageSet,
    schedule: Schedule,
    record: Record,
    *,
    stage: str,
    teaching: Teaching | None = None,
    seed: int = 1,
) -> float:
    """Train `quantized` in place by Adam; gives the epochs done.

    `teacher` is the float network, in eval mode.
    """
    how = teaching or Teaching()
    device = data.device
    scales: list[torch.nn.Parameter] = []
    weights: list[torch.nn.Parameter] = []
    for name, parameter in quantized.named_parameters():
        learned = name.endswith(("log_range", "log_step"))
        parameter.requires_grad_(not learned or how.learn_ranges)
        (scales if learned else weights).append(parameter)
    optimizer = torch.optim.Adam([{"params": weights}, {"params": scales}])
    generator = torch.Generator(device).manual_seed(seed)
    clock = Clock(schedule, len(data.train))
    order = torch.empty(0, dtype=torch.long, device=device)
    told, loss_sum = 0, torch.zeros((), device=device)
    while clock.progress < 1:
        rate = schedule.rate(clock.progress)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.param_groups[1]["lr"] = rate * RANGE_RATE
        if len(order) < schedule.batch_size:
            order = torch.randperm(len(data.train), generator=generator, device=device)
        chosen, order = order[: schedule.batch_size], order[schedule.batch_size :]
        images = data.augmented(data.train.images[chosen], AUGMENTATION, generator)
        with (
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
        ):
            taught = F.softmax(teacher(images).float(), 1)
        optimizer.zero_grad(set_to_none=True)
        logits = quantized(data.steps(images))
        loss = (1 - how.distillation) * F.cross_entropy(logits, data.train.labels[chosen])
        loss = loss + how.distillation * F.kl_div(
            F.log_softmax(logits, 1), taught, reduction="batchmean"
        )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(quantized.parameters(), LARGEST_NORM)
        optimizer.step()
        clock.step += 1
        loss_sum += loss.detach()
        if clock.step % clock.steps_per_epoch == 0 or clock.progress >= 1:
            steps, told = clock.step - told, clock.step
            record.log(
                stage=stage,
                epoch=round(clock.epoch, 2),
                seconds=round(clock.seconds, 1),
                learning_rate=rate,
                loss=float(loss_sum) / steps,
                accuracy_search=integer_accuracy(quantized, data, data.search),
            )
            record.left(f"fine-tuning {stage}", clock.progress, clock.seconds)
            loss_sum.zero_()
    return clock.epoch


def integer_accuracy(quantized: QuantizedNetwork, data: ImageSet, split: Split) -> float:
    """Part of `split` that `quantized` labels right, in its own forward pass, 0 to 1.

    For decisions on the way: figures come from the written integers.
    """
    return float_accuracy(lambda images: quantized(data.steps(images)), data, split)
