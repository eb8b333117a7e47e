"""Fine-tune a `QuantizedNetwork`: fake quantization forward, straight-through gradients back."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.evaluation import integer_accuracy
from autosinian.int4.finetune.fake_quantization import FakeQuantized
from autosinian.int4.finetune.images import ImageSet
from autosinian.int4.finetune.loop import Stage, Training, Update
from autosinian.int4.finetune.quantized import QuantizedNetwork
from autosinian.int4.finetune.record import Record
from autosinian.int4.finetune.schedule import Schedule

LARGEST_NORM = 1.0
RANGE_RATE = 0.2
"""Learning rate of the logarithms of scales over that of weights in units of their steps."""

Teacher = Callable[[torch.Tensor], torch.Tensor]


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


def integer_update(
    quantized: QuantizedNetwork,
    optimizer: torch.optim.Optimizer,
    teacher: Teacher,
    data: ImageSet,
    how: Teaching,
) -> Update:
    """One step towards the labels and the teacher's answers; in bfloat16 on a GPU."""
    kind = torch.bfloat16 if data.device.type == "cuda" else torch.float32
    student = FakeQuantized(quantized)
    parameters = list(quantized.parameters())

    def update(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            taught = F.softmax(teacher(images.to(kind)).float(), 1)
        optimizer.zero_grad(set_to_none=True)
        logits = student(data.steps(images).to(kind))
        loss = (1 - how.distillation) * F.cross_entropy(logits, labels)
        loss = loss + how.distillation * F.kl_div(
            F.log_softmax(logits, 1), taught, reduction="batchmean"
        )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, LARGEST_NORM)
        optimizer.step()
        return loss.detach()

    return update


def fine_tune(
    quantized: QuantizedNetwork,
    teacher: Teacher,
    data: ImageSet,
    schedule: Schedule,
    record: Record,
    *,
    stage: str,
    teaching: Teaching | None = None,
    seed: int = 1,
    profile: bool = False,
) -> float:
    """Train `quantized` in place by Adam; gives the epochs done.

    `teacher` is the float network; it is given bfloat16 images on a GPU, float32 ones elsewhere.
    `profile` times a step in detail afterwards.
    """
    how = teaching or Teaching()
    device = data.device
    scales: list[torch.nn.Parameter] = []
    weights: list[torch.nn.Parameter] = []
    for name, parameter in quantized.named_parameters():
        learned = name.endswith(("log_range", "log_step"))
        parameter.requires_grad_(not learned or how.learn_ranges)
        (scales if learned else weights).append(parameter)
    rate = torch.full((), schedule.learning_rate, device=device)
    scale_rate = rate * RANGE_RATE
    optimizer = torch.optim.Adam(
        [{"params": weights, "lr": rate}, {"params": scales, "lr": scale_rate}],
        fused=True,
        capturable=device.type == "cuda",
    )
    work = Stage(
        stage,
        integer_update(quantized, optimizer, teacher, data, how),
        [(rate, 1.0), (scale_rate, RANGE_RATE)],
        lambda: integer_accuracy(quantized, data, data.search),
    )
    training = Training(work, data, schedule, record, seed)
    epochs = training.run()
    if profile:
        training.profile()
    return epochs
