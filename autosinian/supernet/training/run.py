"""One training run: resumable, on one or more devices, with a log of JSON lines."""

import json
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autosinian.content import atomic_file, write_json
from autosinian.supernet.families import SupernetConfig, build_supernet
from autosinian.supernet.training.augmentation import augment, normalise
from autosinian.supernet.training.figures import Judge, extract, subnet_figures
from autosinian.supernet.training.images import TrainingImages
from autosinian.supernet.training.options import TrainingOptions
from autosinian.supernet.training.sandwich import (
    activate,
    backward_sandwich,
    extreme,
    sample,
)

CHECKPOINT = "training.pt"
WEIGHTS = "supernet.pt"
LOG = "log.jsonl"
FIGURES = "figures.json"
FORMAT = "autosinian.supernet/1"


class Training:
    """State of a run; `Training(...).run()` trains to the end and writes the results.

    With `torchrun` each process takes its share of every epoch and gradients are averaged; the
    first process writes. Every random choice is drawn from the seed and the step, so that a
    resumed run continues as if it had never stopped.
    """

    def __init__(
        self,
        config: SupernetConfig,
        data: TrainingImages,
        options: TrainingOptions,
        out: Path,
        device: torch.device,
    ) -> None:
        self.config, self.data, self.options, self.out = config, data, options, out
        self.device = device
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        torch.manual_seed(options.seed)
        self.format = (
            torch.channels_last
            if options.channels_last and device.type == "cuda"
            else torch.contiguous_format
        )
        self.net = build_supernet(config).to(device)
        self.net.to(memory_format=self.format)
        decay: list[torch.nn.Parameter] = []
        plain: list[torch.nn.Parameter] = []
        for name, parameter in self.net.named_parameters():
            kernel_transform = name.endswith("_matrix")
            (plain if parameter.ndim == 1 or kernel_transform else decay).append(parameter)
        self.parameters = decay + plain
        self.optimizer = torch.optim.SGD(
            [
                {"params": decay, "weight_decay": options.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=options.learning_rate,
            momentum=options.momentum,
            nesterov=True,
        )
        self.ema = [p.detach().clone() for p in self.parameters]
        self.images = torch.from_numpy(np.ascontiguousarray(data.train_images)).to(device)
        self.labels = torch.from_numpy(data.train_labels).to(device)
        self.judge = Judge(data, device)
        self.steps_per_epoch = max(1, len(self.images) // (options.batch_size * self.world))
        self.total_steps = options.epochs * self.steps_per_epoch
        self.step = 0
        self.elapsed = 0.0
        self._reported = (0.0, 0)
        self._sums = torch.zeros(2, device=device)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    @property
    def progress(self) -> float:
        """Part of the run that is done, 0 to 1."""
        by_steps = self.step / self.total_steps
        limit = self.options.time_limit
        return min(1.0, by_steps if limit is None else max(by_steps, self.elapsed / limit))

    def run(self) -> Path:
        """Train to the end (resuming where `out` has a checkpoint); gives the weights' file."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        last_save = time.monotonic()
        while self.progress < 1:
            self.advance()
            if self.elapsed - self._reported[0] >= self.options.report_every:
                self._report()
            if time.monotonic() - last_save > 120:
                self.save()
                last_save = time.monotonic()
        self._report()
        self.save()
        return self.finish()

    def advance(self) -> None:
        """One step of the optimizer."""
        started = time.monotonic()
        self._train_step()
        self.step += 1
        self.elapsed = self._agreed_time(self.elapsed + time.monotonic() - started)

    def _agreed_time(self, elapsed: float) -> float:
        """Rank 0's clock, so that all processes take the same decisions."""
        if self.world == 1:
            return elapsed
        value = torch.tensor(elapsed, dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(value, 0)
        return float(value)

    def _train_step(self) -> None:
        options, step = self.options, self.step
        progress = self.progress
        warm = min(1.0, progress / options.warm_up) if options.warm_up > 0 else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate * cosine * max(warm, 0.01)

        rng = random.Random(f"{options.seed}-{step}")
        generator = torch.Generator(self.device).manual_seed(
            (options.seed * 1_000_003 + step) * self.world + self.rank
        )
        resolution = rng.choice(options.resolutions)
        images, labels = self._batch(resolution, generator)
        subnets = []
        if progress >= options.warm_fraction:
            subnets = [extreme(self.config, largest=False)]
            subnets += [sample(self.config, self.net, rng) for _ in range(options.random_subnets)]
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, correct = backward_sandwich(
            self.net, self.config, images, labels, subnets, options.label_smoothing
        )
        used = [p for p in self.parameters if p.grad is not None]
        self._average_gradients([p.grad for p in used])
        torch.nn.utils.clip_grad_norm_(used, options.clip_norm)
        self.optimizer.step()
        decay = min(options.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)
        self._sums += torch.stack([loss, correct / len(labels)])

    def _batch(
        self, resolution: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if epoch != self._epoch:
            seed = self.options.seed * 7919 + epoch
            generator_of_epoch = torch.Generator().manual_seed(seed)
            self._order = torch.randperm(len(self.images), generator=generator_of_epoch)
            self._epoch = epoch
        size = self.options.batch_size
        start = (place * self.world + self.rank) * size
        chosen = self._order[start : start + size].to(self.device)
        images = augment(self.images[chosen], self.options.augmentation, generator)
        images = normalise(images, resolution, self.judge.mean, self.judge.std)
        return images.contiguous(memory_format=self.format), self.labels[chosen]

    def _average_gradients(self, gradients: list[Any]) -> None:
        if self.world == 1:
            return
        flat = torch.cat([g.reshape(-1) for g in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.world
        place = 0
        for gradient in gradients:
            gradient.copy_(flat[place : place + gradient.numel()].view_as(gradient))
            place += gradient.numel()

    def _averaged_net(self) -> torch.nn.Module:
        """A fresh supernet with the averaged weights."""
        net = build_supernet(self.config).to(self.device)
        own = {id(p): e for p, e in zip(self.parameters, self.ema, strict=True)}
        with torch.no_grad():
            for target, source in zip(net.parameters(), self.net.parameters(), strict=True):
                target.copy_(own[id(source)])
        return net.eval()

    def _report(self) -> None:
        """One line of the log: losses since the last, held-out accuracy of the extremes."""
        if self.rank != 0:
            return
        steps = max(1, self.step - self._reported[1])
        loss, correct = (self._sums / steps).tolist()
        net = self._averaged_net()
        line: dict[str, Any] = {
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 2),
            "seconds": round(self.elapsed, 1),
            "progress": round(self.progress, 4),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": loss,
            "train_accuracy": correct,
        }
        for kind, resolution in (
            ("largest", max(self.options.resolutions)),
            ("smallest", min(self.options.resolutions)),
        ):
            subnet = extract(net, extreme(self.config, largest=kind == "largest"))
            self.judge.recalibrate(subnet, resolution)
            line[f"{kind}_held_accuracy"] = self.judge.accuracy(subnet, resolution, self.judge.held)
        with (self.out / LOG).open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), file=sys.stderr, flush=True)
        self._sums.zero_()
        self._reported = (self.elapsed, self.step)

    def save(self) -> None:
        """Write the state that a later run resumes from, and the weights so far."""
        if self.rank != 0:
            return
        with atomic_file(self.out / CHECKPOINT) as path:
            torch.save(
                {
                    "net": self.net.state_dict(),
                    "ema": self.ema,
                    "optimizer": self.optimizer.state_dict(),
                    "step": self.step,
                    "elapsed": self.elapsed,
                    "sums": self._sums,
                    "reported": list(self._reported),
                },
                path,
            )
        self.write_weights(self._averaged_net())

    def _resume(self) -> None:
        path = self.out / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        torch.nn.Module.load_state_dict(self.net, state["net"])
        with torch.no_grad():
            for own, saved in zip(self.ema, state["ema"], strict=True):
                own.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self._sums.copy_(state["sums"])
        self._reported = (state["reported"][0], state["reported"][1])
        print(f"resumed at step {self.step}", file=sys.stderr, flush=True)

    def write_weights(self, net: torch.nn.Module) -> Path:
        """Write `net` as a half-precision checkpoint whose batch norms fit the largest subnet."""
        activate(net, extreme(self.config, largest=True))
        self.judge.recalibrate(net, max(self.options.resolutions))
        state = {
            name: value.half() if value.is_floating_point() else value
            for name, value in net.state_dict().items()
        }
        with atomic_file(self.out / WEIGHTS) as path:
            torch.save(
                {
                    "format": FORMAT,
                    "supernet": self.config.to_dict(),
                    "resolutions": sorted(self.options.resolutions),
                    "data": {
                        "name": self.data.name,
                        "mean": list(self.data.mean),
                        "std": list(self.data.std),
                        "interpolation": "bilinear",
                        "note": "image resized directly to r x r, scaled to [0, 1], normalised",
                    },
                    "training": {
                        "steps": self.step,
                        "epochs": round(self.step / self.steps_per_epoch, 2),
                        "seconds": round(self.elapsed, 1),
                        "batch_size": self.options.batch_size * self.world,
                        "learning_rate": self.options.learning_rate,
                        "weight_decay": self.options.weight_decay,
                        "seed": self.options.seed,
                    },
                    "state_dict": {name: value.cpu() for name, value in state.items()},
                },
                path,
            )
        return self.out / WEIGHTS

    def finish(self) -> Path:
        """Write weights and the record of subnets, judged with the half-precision weights."""
        path = self.out / WEIGHTS
        if self.rank == 0:
            self.write_weights(self._averaged_net())
            net = build_supernet(self.config).to(self.device)
            state = torch.load(path, map_location=self.device, weights_only=True)["state_dict"]
            torch.nn.Module.load_state_dict(
                net, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
            )
            rows = subnet_figures(
                net,
                self.config,
                self.judge,
                self.options.resolutions,
                random_subnets=self.options.figures_of,
            )
            write_json(self.out / FIGURES, rows)
            for row in rows[: 2 * len(self.options.resolutions)]:
                print({k: v for k, v in row.items() if k != "genes"}, file=sys.stderr, flush=True)
        return path
