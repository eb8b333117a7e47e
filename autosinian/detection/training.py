"""Training of a detector: every image in the device's memory, augmented there."""

import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autosinian.content import atomic_file, write_json
from autosinian.detection.annotations import AnnotatedImages, truth_of
from autosinian.detection.augmentation import Augmentation, augment
from autosinian.detection.average_precision import average_precision
from autosinian.detection.checkpoint import Detector, save_detector
from autosinian.detection.default_boxes import default_boxes
from autosinian.detection.evaluate import detections_of
from autosinian.detection.inputs import input_batches, square_pixels
from autosinian.detection.matching import detection_loss, match
from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.detection.precision import AveragePrecision
from autosinian.errors import AutosinianError, InputError

WEIGHTS = "detector.pt"
CHECKPOINT = "training.pt"
LOG = "log.jsonl"
FIGURES = "figures.json"

STORED_SIDE = 1.6
"""Images are kept this much larger than the network's input, for cut-outs to have detail."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; `time_limit` in seconds of training ends the schedule early, annealed."""

    steps: int = 12000
    time_limit: float | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: int = 300
    averaging: float = 0.999
    evaluations: int = 20
    box_weight: float = 1.0
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)


class Training:
    """State of a run; `run()` trains to the end and writes to `out`.

    `detector.pt` holds the averaged weights of the evaluation with the best validation mAP,
    `training.pt` all that an interrupted run continues from, `log.jsonl` a line an evaluation.
    Every random choice is drawn from the seed and the step.
    """

    def __init__(
        self,
        config: SsdConfig,
        train: AnnotatedImages,
        validation: AnnotatedImages,
        options: TrainingOptions,
        out: Path,
        device: torch.device,
    ) -> None:
        if train.class_names != validation.class_names:
            raise InputError(
                f"training and validation must have the same classes, but have "
                f"{train.class_names} and {validation.class_names}"
            )
        self.config, self.options, self.out, self.device = config, options, out, device
        self.train, self.validation = train, validation
        torch.manual_seed(options.seed)
        self.format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.network = SsdResNet34(config).to(device).to(memory_format=self.format)
        self.averaged = SsdResNet34(config).to(device).to(memory_format=self.format)
        self.averaged.load_state_dict(self.network.state_dict())
        self.averaged.eval().requires_grad_(False)
        state = self.network.state_dict()
        averages = self.averaged.state_dict()
        names = [name for name, tensor in state.items() if tensor.is_floating_point()]
        # Both share memory with the networks, whose tensors are only ever changed in place.
        self.currents = [state[name] for name in names]
        self.averages = [averages[name] for name in names]
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, options.weight_decay),
            lr=options.learning_rate,
            fused=device.type == "cuda",
        )
        self.defaults = default_boxes(config.layout).to(device)
        self.generator = torch.Generator(device)
        self.step = 0
        self.spent = 0.0
        self.best: float = -1.0

    def run(self) -> Path:
        """Train from where `out` left off; gives the path of the weights."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        side = self.config.image_size
        print("reading images into the device's memory", file=sys.stderr, flush=True)
        pixels, boxes, labels = _resident(self.train, round(STORED_SIDE * side), self.device)
        inputs = list(input_batches(self.validation, side, 32))
        every = max(1, self.options.steps // self.options.evaluations)
        next_told = 0.0
        started = time.monotonic() - self.spent
        losses = torch.zeros(2, device=self.device)
        counted = 0
        while (progress := self._progress(time.monotonic() - started)) < 1:
            losses += self._train_step(pixels, boxes, labels, progress)
            self.step += 1
            counted += 1
            self.spent = time.monotonic() - started
            done = self._progress(self.spent)
            due = done >= (next_told or self._next_share(progress))
            if self.step % every and not due and done < 1:
                continue
            box_loss, class_loss = (losses / counted).tolist()
            if not math.isfinite(box_loss + class_loss):
                raise AutosinianError(
                    f"the loss is not finite after {self.step} steps: lower the learning rate"
                )
            self._evaluate(inputs, box_loss, class_loss, done)
            next_told = self._next_share(done)
            losses.zero_()
            counted = 0
            # Evaluating is not training time.
            started = time.monotonic() - self.spent
        write_json(
            self.out / FIGURES,
            {
                "validation_map": self.best,
                "steps": self.step,
                "training_seconds": round(self.spent, 1),
                "config": asdict(self.config),
                "options": asdict(self.options),
                "torch": torch.__version__,
                "device": _device_name(self.device),
            },
        )
        return self.out / WEIGHTS

    def _progress(self, spent: float) -> float:
        limit = self.options.time_limit
        share = self.step / self.options.steps
        return max(share, spent / limit) if limit else share

    def _next_share(self, progress: float) -> float:
        count = self.options.evaluations
        return (math.floor(progress * count) + 1) / count

    def _train_step(self, pixels: Tensor, boxes: Tensor, labels: Tensor, progress: float) -> Tensor:
        options = self.options
        warm = min(1.0, (self.step + 1) / options.warm_up)
        rate = options.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.generator.manual_seed(options.seed * 1_000_003 + self.step)
        chosen = torch.randint(
            len(pixels), (options.batch_size,), generator=self.generator, device=self.device
        )
        images, seen, classes = augment(
            pixels[chosen],
            boxes[chosen],
            labels[chosen],
            self.config.image_size,
            options.augmentation,
            self.generator,
        )
        images = images.contiguous(memory_format=self.format)
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            offsets, logits = self.network.logits(images)
        targets, wanted = match(seen, classes, self.defaults)
        box_loss, class_loss = detection_loss(offsets.float(), logits.float(), targets, wanted)
        self.optimizer.zero_grad(set_to_none=True)
        loss = options.box_weight * box_loss + class_loss
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self._average()
        return torch.stack((box_loss.detach(), class_loss.detach()))

    @torch.no_grad()
    def _average(self) -> None:
        share = 1 - min(self.options.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.averages, self.currents, share)

    def _evaluate(
        self, inputs: list[np.ndarray[Any, Any]], box_loss: float, class_loss: float, done: float
    ) -> None:
        found = detections_of(self.averaged, self.config.layout, inputs, device=self.device)
        figures = average_precision(found, self.validation)
        if figures.mean > self.best:
            self.best = figures.mean
            save_detector(
                self.out / WEIGHTS, Detector(self.averaged, self.train.class_names), half=False
            )
        self._record(figures, box_loss, class_loss, done)
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent": self.spent,
            "best": self.best,
            "made_with": self._identity(),
        }
        with atomic_file(self.out / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def _record(
        self, figures: AveragePrecision, box_loss: float, class_loss: float, done: float
    ) -> None:
        line = {
            "step": self.step,
            "seconds": round(self.spent, 1),
            "box_loss": round(box_loss, 4),
            "class_loss": round(class_loss, 4),
            "validation_map": round(figures.mean, 3),
            "validation_ap50": round(figures.at_50, 3),
        }
        with (self.out / LOG).open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        left = self.spent / done * (1 - done) if done else 0.0
        print(
            f"step {self.step}: loss {box_loss:.3f} boxes {class_loss:.3f} classes, validation mAP "
            f"{figures.mean:.2f} (best {self.best:.2f}), {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued."""
        options = asdict(self.options)
        for name in ("time_limit", "evaluations"):
            del options[name]
        images = [image.file for image in self.train.images]
        return {"config": asdict(self.config), "options": options, "images": images}

    def _resume(self) -> None:
        path = self.out / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["made_with"] != self._identity():
            raise InputError(
                f"{path} is of a run with other options or images: choose another folder, or "
                "`--restart`"
            )
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent, self.best = state["step"], state["spent"], state["best"]
        print(f"continuing after step {self.step}", file=sys.stderr, flush=True)


def _groups(network: SsdResNet34, weight_decay: float) -> list[dict[str, Any]]:
    """Kernels decay; biases and batch norm do not."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def _resident(
    images: AnnotatedImages, side: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels uint8 `n x 3 x side x side`, boxes `n x most x 4` and labels `n x most` on `device`.

    Images without boxes are kept: all their default boxes are background, which hard negatives are
    not drawn from, so they teach batch norm alone. Crowds are left out.
    """
    pixels = np.empty((len(images.images), 3, side, side), np.uint8)
    for row, image in zip(pixels, images.images, strict=True):
        row[...] = square_pixels(images.pixels(image), side)
    truth = truth_of(images.images)
    boxes = truth[..., :4].astype(np.float32)
    labels = (truth[..., 4] * (truth[..., 5] == 0)).astype(np.int64)
    return (
        torch.from_numpy(pixels).to(device),
        torch.from_numpy(boxes).to(device),
        torch.from_numpy(labels).to(device),
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
