"""Train a float network from random weights: what the integers start from and are compared with."""

import copy

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.average import WeightAverage
from autosinian.int4.finetune.evaluation import float_accuracy
from autosinian.int4.finetune.images import ImageSet
from autosinian.int4.finetune.loop import Stage, Training, Update
from autosinian.int4.finetune.record import Record
from autosinian.int4.finetune.schedule import Schedule

WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1
MOMENTUM = 0.9
EMA_EPOCHS = 1.0


def float_optimizer(module: torch.nn.Module, rate: torch.Tensor) -> torch.optim.Optimizer:
    """Nesterov's SGD at `rate`, a scalar on the device; no decay of biases and batch norms."""
    decay = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    return torch.optim.SGD(
        [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=rate,
        momentum=MOMENTUM,
        nesterov=True,
        fused=True,
    )


def float_update(
    module: torch.nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Update:
    """One step of cross entropy with smoothed labels; in bfloat16 autocast on a GPU."""

    def update(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        # A cache of cast weights must not outlive a captured step.
        with torch.autocast(
            device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False
        ):
            logits = module(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return update


def train_float(
    module: torch.nn.Module,
    data: ImageSet,
    schedule: Schedule,
    record: Record,
    seed: int = 0,
    *,
    profile: bool = False,
) -> tuple[torch.nn.Module, float]:
    """Train `module` in place; gives the average of its weights, and the epochs done.

    Channels last; batch-norm statistics are averaged as the weights are. `profile` times a step in
    detail afterwards.
    """
    device = data.device
    torch.manual_seed(seed)
    module.to(device).to(memory_format=torch.channels_last).train()
    average = WeightAverage(module, EMA_EPOCHS * max(1, len(data.train) // schedule.batch_size))
    rate = torch.full((), schedule.learning_rate, device=device)
    optimizer = float_optimizer(module, rate)
    half = device.type == "cuda"
    stage = Stage(
        "float",
        float_update(module, optimizer, device),
        [(rate, 1.0)],
        lambda: float_accuracy(average.module, data, data.search, half=half),
        average.update,
    )
    training = Training(stage, data, schedule, record, seed)
    epochs = training.run()
    if not profile:
        return average.module, epochs
    trained = copy.deepcopy(average.module)
    training.profile()
    return trained, epochs
