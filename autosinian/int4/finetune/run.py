"""From images to models of integers: the steps of `autosinian int4 finetune`, each kept as it ends.

The folder then holds `model/` (all in 4 bits), `model_int8_<n>/` for each number of layers kept in
8 bits, `input.json` (how an image becomes the int8 input), `accuracy.csv`, `trade_off.svg`,
`sensitivity.csv`, `chosen.json`, `log.jsonl` and `float.pt`.
"""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from autosinian.content import atomic_file, write_json
from autosinian.int4.finetune.choice import Variant, choose
from autosinian.int4.finetune.evaluation import float_accuracy, integer_accuracy
from autosinian.int4.finetune.float_training import train_float
from autosinian.int4.finetune.folded import FoldedNetwork
from autosinian.int4.finetune.images import ImageSet
from autosinian.int4.finetune.integer_model import integer_model
from autosinian.int4.finetune.integer_training import fine_tune
from autosinian.int4.finetune.judge import Judge
from autosinian.int4.finetune.options import FinetuneOptions
from autosinian.int4.finetune.precision import Layer, layers_of
from autosinian.int4.finetune.quantized import QuantizedNetwork
from autosinian.int4.finetune.ranges import activation_ranges
from autosinian.int4.finetune.record import Record
from autosinian.int4.finetune.schedule import Schedule
from autosinian.int4.finetune.sensitivity import (
    Sensitivity,
    checked_counts,
    most_harmed,
    sensitivities,
    weight_bytes,
)
from autosinian.int4.finetune.sources import build_resnet, folded_network, load_float_weights
from autosinian.int4.model_writer import write_model

FLOAT_WEIGHTS = "float.pt"
INPUT = "input.json"
SENSITIVITY = "sensitivity.csv"
CHOSEN = "chosen.json"
SHORTEST_SECONDS = 5.0
"""Of a training that is worth beginning."""


@dataclass(frozen=True, eq=False)
class _Float:
    """The float network, folded, and what its tensors reach."""

    folded: FoldedNetwork
    layers: tuple[Layer, ...]
    ranges: dict[str, float]
    accuracy_search: float


class Finetune:
    """One run: `Finetune(options, data).run()`."""

    def __init__(
        self,
        options: FinetuneOptions,
        data: ImageSet,
        kept: Callable[[Variant | None], None] = lambda variant: None,
        deadline: float | None = None,
    ) -> None:
        """`kept` is called after every row of the table, with its network once that is written.

        Networks with layers in 8 bits are trained for less time, or left out, where they would
        not be judged before `deadline` (of `time.monotonic`, in seconds).
        """
        self.options, self.data, self._kept, self._deadline = options, data, kept, deadline
        self._judging_seconds = 0.0
        self.record = Record(
            options.out,
            data.device,
            network="ofa_resnet" if options.ofa_net is not None else options.network,
            data=data.dataset.name,
            resolution=options.resolution,
        )
        self.judge = Judge(data, options.reference_images)
        self.variants: list[Variant] = []

    def run(self) -> Variant | None:
        """All steps; gives the network of the fewest 8-bit layers that is good enough, if any.

        Raises `InputError` for options and files that do not fit together.
        """
        torch.backends.cudnn.benchmark = True
        write_json(self.options.out / INPUT, self.data.int8_rule.rule())
        if self.data.trained_role != "train":
            self.record.say(
                f"{self.data.dataset.name} has no training images here: training on the "
                f"{len(self.data.train):,} of role {self.data.trained_role}"
            )
        float_ = self._float()
        self._variant(float_, (), self.options.integer_schedule)
        if self.options.int8_counts:
            found = sensitivities(
                float_.folded,
                float_.layers,
                float_.ranges,
                self.data,
                self.options.sensitivity_images,
            )
            self._keep_sensitivities(found)
            for count in self.options.int8_counts:
                schedule = self._in_time(self.options.mixed_schedule)
                if schedule is None:
                    self.record.say(f"no time is left for {count} layers in int8")
                    continue
                self._variant(float_, most_harmed(found, count), schedule)
        chosen = choose(self.variants, float_.accuracy_search, self.options.tolerance)
        self._keep_chosen(chosen, float_.accuracy_search)
        return chosen

    def _in_time(self, schedule: Schedule) -> Schedule | None:
        """`schedule`, shorter where the deadline asks for it; None where no time is left."""
        if self._deadline is None:
            return schedule
        left = self._deadline - time.monotonic() - self._judging_seconds
        if left < SHORTEST_SECONDS:
            return None
        return replace(schedule, seconds=min(left, schedule.seconds or left))

    def _float(self) -> _Float:
        options, data = self.options, self.data
        start, epochs = time.monotonic(), 0.0
        if options.ofa_net is not None:
            # Imported only here: a machine that trains a torchvision ResNet need not have ofa.
            from autosinian.supernet.net_files import read_net

            module, _ = read_net(options.ofa_net)
            module.to(data.device)
        else:
            module = build_resnet(
                options.network,
                data.dataset.classes,
                depths=options.depths,
                width_per_group=options.width_per_group,
            )
            # Known before hours of training: whether there are so many layers.
            layers = layers_of(folded_network(module), options.resolution)
            checked_counts(options.int8_counts, layers)
            if options.weights is not None:
                load_float_weights(module, options.weights)
                module.to(data.device).to(memory_format=torch.channels_last).eval()
            else:
                schedule = options.float_schedule
                module, epochs = train_float(
                    module, data, schedule, self.record, options.seed, profile=options.profile
                )
                with atomic_file(options.out / FLOAT_WEIGHTS) as temporary:
                    torch.save({"state_dict": module.state_dict()}, temporary)
        seconds = time.monotonic() - start
        folded = folded_network(module)
        layers = layers_of(folded, options.resolution)
        checked_counts(options.int8_counts, layers)
        search = float_accuracy(folded, data, data.search)
        self.record.row(
            variant="float",
            epochs=round(epochs, 2),
            seconds=round(seconds, 1),
            accuracy_search=search,
            accuracy_validation=float_accuracy(folded, data, data.validation),
            arithmetic="float32, batch norm folded (TF32 on GPUs)",
            weight_bytes=4 * sum(layer.weights for layer in layers),
        )
        self._say_last()
        self._kept(None)
        ranges = activation_ranges(folded, data, percentile=options.percentile)
        return _Float(folded, layers, ranges, search)

    def _variant(self, float_: _Float, int8: tuple[str, ...], schedule: Schedule) -> None:
        """Calibrate, fine-tune, write and judge the network with the layers of `int8` in 8 bits."""
        quantized = QuantizedNetwork(
            float_.folded, float_.layers, float_.ranges, self.data.input_scale, int8
        )
        name = f"{len(int8)} layers in int8" if int8 else "int4"
        size = weight_bytes(float_.layers, int8)
        self.record.row(
            variant=f"{name}, as calibrated",
            int8_layers=len(int8),
            epochs=0,
            accuracy_search=integer_accuracy(quantized, self.data, self.data.search),
            arithmetic="integers in float32 (TF32 on GPUs)",
            weight_bytes=size,
        )
        self._say_last()
        start = time.monotonic()
        kind = torch.bfloat16 if self.data.device.type == "cuda" else torch.float32
        epochs = fine_tune(
            quantized,
            float_.folded.to(kind),
            self.data,
            schedule,
            self.record,
            stage=name,
            teaching=self.options.teaching,
            seed=self.options.seed + 1,
            profile=self.options.profile,
        )
        seconds = time.monotonic() - start
        judging = time.monotonic()
        network = integer_model(quantized, self.options.resolution)
        folder = self.options.out / (f"model_int8_{len(int8)}" if int8 else "model")
        write_model(network, folder)
        search = self.judge.accuracy(network, "search")
        validation = self.judge.accuracy(network, "validation")
        self.variants.append(Variant(name, int8, search, validation, folder))
        self.record.row(
            variant=name,
            int8_layers=len(int8),
            epochs=round(epochs, 2),
            seconds=round(seconds, 1),
            accuracy_search=search,
            accuracy_validation=validation,
            arithmetic="exact integers",
            weight_bytes=size,
        )
        self._say_last()
        self._kept(self.variants[-1])
        proven = self.judge.prove(network)
        self.record.amend(arithmetic=f"exact integers, {proven} images equal on the processor")
        self._kept(None)
        self._judging_seconds = time.monotonic() - judging

    def _keep_sensitivities(self, found: Sequence[Sensitivity]) -> None:
        path = self.options.out / SENSITIVITY
        with atomic_file(path) as temporary, temporary.open("w", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("layer", "harm_nats", "macs", "weights"))
            for one in found:
                layer = one.layer
                writer.writerow((layer.name, f"{one.harm:.6f}", layer.macs, layer.weights))
        worst = ", ".join(f"{one.layer.name} {one.harm:.4f}" for one in found[:5])
        self.record.say(f"most harmed by 4 bits: {worst}")

    def _keep_chosen(self, chosen: Variant | None, float_search: float) -> None:
        within = f"{self.options.tolerance} points of float's {float_search:.2%} (search split)"
        if chosen is None:
            self.record.say(f"no network is within {within}")
            return
        write_json(
            self.options.out / CHOSEN,
            {
                "model": chosen.folder.name,
                "int8_layers": list(chosen.int8),
                "accuracy_search": chosen.accuracy_search,
                "accuracy_validation": chosen.accuracy_validation,
                "accuracy_search_of_float": float_search,
                "tolerance_points": self.options.tolerance,
            },
        )
        self.record.say(f"chosen: {chosen.folder.name}, within {within}")

    def _say_last(self) -> None:
        row = self.record.rows[-1]
        shown = [f"search {row['accuracy_search']:.2%}"]
        if "accuracy_validation" in row:
            shown.append(f"validation {row['accuracy_validation']:.2%}")
        self.record.say(f"{row['variant']}: {', '.join(shown)}")
