"""A supernet, opened: its subnets as plain data and as networks."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosinian.content import content_key, file_sha256
from autosinian.data.preprocessing import Preprocessing, imagenet_short_side
from autosinian.errors import InputError
from autosinian.space.candidate import Subnet
from autosinian.supernet.families import SupernetConfig, build_supernet
from autosinian.supernet.genes import GeneSpace
from autosinian.supernet.hub import HUB, HUB_RESOLUTIONS, hub_state, is_local
from autosinian.supernet.net_files import load_exactly, read_torch

if TYPE_CHECKING:
    import torch

FORMAT = "autosinian.supernet/1"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputRule:
    """How a supernet wants its images, at any resolution.

    With `centre_crop` the short side becomes `ceil(r / 0.875)` before a centre crop, as for
    ImageNet; without it the image is resized to `r x r` directly.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"
    centre_crop: bool = False

    def at(self, resolution: int) -> Preprocessing:
        """The rule for one resolution."""
        return Preprocessing(
            resolution=resolution,
            mean=self.mean,
            std=self.std,
            resize=imagenet_short_side(resolution) if self.centre_crop else None,
            interpolation=self.interpolation,
        )


class Supernet:
    """An OFA supernet with weights. Opening reads the file; `ofa` and torch load at first use.

    `sha256` is that of the checkpoint's bytes; `resolutions` those it was trained for, ascending.
    """

    def __init__(
        self,
        name: str,
        config: SupernetConfig,
        state: "dict[str, torch.Tensor]",
        sha256: str,
        resolutions: tuple[int, ...],
        preprocessing: InputRule,
    ) -> None:
        self.name = name
        self.config = config
        self.family = config.family
        self.classes = config.classes
        self.sha256 = sha256
        self.resolutions = resolutions
        self.preprocessing = preprocessing
        self.genes = GeneSpace.of(config)
        self._net = build_supernet(config)
        cause = load_exactly(self._net, state)
        if cause is not None:
            raise InputError(
                f"`{name}` must hold the weights of the {config.family} supernet it describes "
                f"(width {config.width_mult}, {config.classes} classes), but {cause}"
            )
        self._net.eval()

    def validate(self, subnet: Subnet) -> None:
        """Raise `InputError` naming the first gene that this supernet does not have."""
        self.genes.validate(subnet)

    def canonical(self, subnet: Subnet) -> Subnet:
        """The subnet with the genes of skipped blocks set to 0."""
        return self.genes.canonical(subnet)

    def largest(self, resolution: int) -> Subnet:
        """Every gene at its greatest."""
        return self.genes.extreme(resolution, largest=True)

    def smallest(self, resolution: int) -> Subnet:
        """Every gene at its least."""
        return self.genes.extreme(resolution, largest=False)

    def uniform(self, resolution: int) -> list[Subnet]:
        """One subnet for each kernel size x expansion x depth (x width), shared by all blocks."""
        return self.genes.uniform(resolution)

    def sample(self, rng: random.Random, resolution: int) -> Subnet:
        """A subnet with every gene drawn uniformly."""
        return self.genes.sample(rng, resolution)

    def extract(self, subnet: Subnet) -> "torch.nn.Module":
        """The subnet as a network of its own, in eval mode, weights copied.

        Its batch norm still has the supernet's statistics: see `recalibrate_batch_norm`. Not to
        be called from two threads at once.
        """
        net: Any = self._net
        net.set_active_subnet(**self.genes.settings(subnet))
        module: torch.nn.Module = net.get_active_subnet(preserve_weight=True)
        return module.eval()


def open_supernet(source: str | Path, *, classes: int | None = None) -> Supernet:
    """Open a checkpoint file, a hub id (downloaded once), or `random:ID` (random weights, seed 0).

    `classes` must be what the supernet has, where given. Raises `InputError` for a missing file,
    a file that is no supernet, weights of another supernet, a failed download.
    """
    name = str(source)
    supernet = _open_hub(name) if not is_local(name) else _open_file(Path(name))
    if classes is not None and supernet.classes != classes:
        raise InputError(
            f"the supernet must have {classes} classes, but `{name}` has {supernet.classes}"
        )
    return supernet


def _open_file(path: Path) -> Supernet:
    if not path.is_file():
        raise InputError(
            f"the supernet must be a checkpoint file or one of {', '.join(HUB)}, but there is no "
            f"file `{path}`"
        )
    checkpoint = read_torch(path)
    if checkpoint.get("format") != FORMAT:
        raise InputError(
            f"`{path}` must be a supernet checkpoint (`format` is `{FORMAT}`), but its format is "
            f"{checkpoint.get('format')!r}; make one with `autosinian train-supernet`"
        )
    try:
        data = checkpoint["data"]
        rule = InputRule(
            mean=_triple(data["mean"]),
            std=_triple(data["std"]),
            interpolation=str(data.get("interpolation", "bilinear")),
            centre_crop=bool(data.get("centre_crop", False)),
        )
        resolutions = tuple(sorted(int(r) for r in checkpoint["resolutions"]))
        config = SupernetConfig.from_dict(checkpoint["supernet"])
        state = dict(checkpoint["state_dict"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"supernet checkpoint `{path}` is incomplete: {error!r}") from error
    return Supernet(str(path), config, state, file_sha256(path), resolutions, rule)


def _open_hub(name: str) -> Supernet:
    import torch

    identity = name.removeprefix("random:")
    config = HUB[identity]
    if name.startswith("random:"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            state = build_supernet(config).state_dict()
        sha256 = content_key(name)
    else:
        state = hub_state(identity)
        sha256 = _state_sha256(state)
    rule = InputRule(IMAGENET_MEAN, IMAGENET_STD, centre_crop=True)
    return Supernet(name, config, dict(state), sha256, HUB_RESOLUTIONS, rule)


def _state_sha256(state: "dict[str, torch.Tensor]") -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
