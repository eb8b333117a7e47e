"""Everything that decides how a network becomes integers."""

from dataclasses import dataclass, field
from pathlib import Path

from autosinian.errors import InputError
from autosinian.int4.finetune.integer_training import Teaching
from autosinian.int4.finetune.schedule import Schedule
from autosinian.quantize.threshold import PERCENTILE

SMALLEST_RESOLUTION = 32


@dataclass(frozen=True)
class FinetuneOptions:
    """One run; see `autosinian int4 finetune --help`.

    The float network is `network` of torchvision (with `depths` and `width_per_group` where they
    are given) trained by `float_schedule`, or read from `weights`; or the OFA-ResNet of the folder
    `ofa_net` (`net.config`, `init`), as it is. `int8_counts` are numbers of layers kept in 8
    bits: each gives a network of its own, trained by `mixed_schedule`. `tolerance` is how many
    points of accuracy the chosen network may be below the float one. Where `profile`, a step of
    every training is timed in detail at its end.
    """

    out: Path
    resolution: int
    float_schedule: Schedule
    integer_schedule: Schedule
    mixed_schedule: Schedule
    network: str = "resnet50"
    depths: tuple[int, ...] | None = None
    width_per_group: int = 64
    weights: Path | None = None
    ofa_net: Path | None = None
    int8_counts: tuple[int, ...] = ()
    tolerance: float = 1.0
    percentile: float = PERCENTILE
    sensitivity_images: int = 1000
    reference_images: int = 500
    seed: int = 0
    profile: bool = False
    teaching: Teaching = field(default_factory=Teaching)

    def __post_init__(self) -> None:
        if self.resolution < SMALLEST_RESOLUTION or self.resolution % 32:
            raise InputError(
                f"--resolution must be a multiple of 32, which a ResNet halves five times, "
                f"but got {self.resolution}"
            )
        if self.weights is not None and self.ofa_net is not None:
            raise InputError("--weights and --ofa-net must not be given together; give one")
        if self.out.exists() and any(self.out.glob("model*")):
            raise InputError(f"`{self.out}` must hold no model yet; name another folder")
        if len(set(self.int8_counts)) < len(self.int8_counts):
            raise InputError(f"--int8-layers must differ, but got {self.int8_counts}")
        if self.tolerance < 0:
            raise InputError(f"--within must be at least 0 points, but got {self.tolerance}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"`0 < percentile <= 100` must hold, but got {self.percentile}")
        if min(self.sensitivity_images, self.reference_images) < 1:
            raise InputError("--sensitivity-images and --reference-images must be at least 1")
