"""Everything that decides how a supernet is trained."""

from dataclasses import dataclass, field

from autosinian.supernet.training.augmentation import Augmentation


@dataclass(frozen=True)
class TrainingOptions:
    """One training run.

    It ends after `epochs`, or after `time_limit` seconds of training (earlier runs of the same
    folder counted in), whichever is first; the learning rate reaches zero there. For the first
    `warm_fraction` of it only the largest subnet is trained. `batch_size` is of one process.
    `figures_of` random subnets are judged at the end.
    """

    resolutions: tuple[int, ...]
    epochs: int = 100
    time_limit: float | None = None
    batch_size: int = 512
    learning_rate: float = 0.4
    weight_decay: float = 3e-4
    momentum: float = 0.9
    label_smoothing: float = 0.1
    warm_up: float = 0.03
    warm_fraction: float = 0.2
    random_subnets: int = 2
    ema_decay: float = 0.9985
    clip_norm: float = 5.0
    seed: int = 0
    report_every: float = 60.0
    channels_last: bool = True
    figures_of: int = 50
    augmentation: Augmentation = field(default_factory=Augmentation)
