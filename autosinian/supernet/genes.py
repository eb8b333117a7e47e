"""The genes of a supernet: which values each may have, and which of them matter."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from autosinian.errors import InputError
from autosinian.space.candidate import Subnet
from autosinian.supernet.families import SupernetConfig

# Blocks of each ResNet stage at depth 0, and how many stages the other families have
# (once-for-all: ResNets.BASE_DEPTH_LIST, OFAMobileNetV3, OFAProxylessNASNets).
RESNET_BASE_DEPTHS = (2, 2, 4, 2)
MOBILE_STAGES = 5

GENE_WORDS = {"d": "depth", "ks": "kernel size", "e": "expansion ratio", "w": "width index"}


@dataclass(frozen=True)
class GeneSpace:
    """Choices at each position of a `Subnet`'s tuples.

    `stages` are the block indices of each stage at full depth. `base` is how many of a stage's
    blocks stay at depth 0 (ResNets) and 0 elsewhere. A ResNet's `d` begins with its stem block,
    which is kept at the greatest depth and skipped at the least.
    """

    d: tuple[tuple[int, ...], ...]
    ks: tuple[tuple[int, ...], ...]
    e: tuple[tuple[float, ...], ...]
    w: tuple[tuple[int, ...], ...]
    stages: tuple[tuple[int, ...], ...]
    base: tuple[int, ...]

    @classmethod
    def of(cls, config: SupernetConfig) -> "GeneSpace":
        """The genes of a supernet as `ofa` lays them out."""
        deepest = max(config.d)
        if config.family == "resnet":
            base: tuple[int, ...] = RESNET_BASE_DEPTHS
            sizes = [count + deepest for count in base]
            depths = ((min(config.d), deepest), *(config.d for _ in base))
            widths = tuple(tuple(range(len(config.w))) for _ in range(len(base) + 2))
        else:
            # ProxylessNAS has a last stage of one block.
            sizes = [deepest] * MOBILE_STAGES + [1] * (config.family == "proxyless")
            base = (0,) * len(sizes)
            depths = tuple(tuple(sorted({min(d, n) for d in config.d})) for n in sizes)
            widths = ()
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        blocks = sum(sizes)
        return cls(
            d=depths,
            ks=(config.ks,) * blocks if config.ks else (),
            e=(config.e,) * blocks,
            w=widths,
            stages=tuple(
                tuple(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)
            ),
            base=base,
        )

    def is_active(self, d: Sequence[int]) -> list[bool]:
        """For each block, whether a subnet of these depths has it."""
        depths = d[len(d) - len(self.stages) :]
        active = []
        for blocks, base, depth in zip(self.stages, self.base, depths, strict=True):
            active += [index < base + depth for index in range(len(blocks))]
        return active

    def validate(self, subnet: Subnet) -> None:
        """Raise `InputError` naming the first gene that the supernet does not have.

        A skipped block's genes may be 0.
        """
        for gene in ("d", "ks", "e", "w"):
            values, choices = getattr(subnet, gene), getattr(self, gene)
            if len(values) != len(choices):
                raise InputError(
                    f"a subnet must have {len(choices)} genes `{gene}` ({GENE_WORDS[gene]}), "
                    f"but got {len(values)}"
                )
            active = self.is_active(subnet.d) if gene in ("ks", "e") else [True] * len(values)
            for index, (value, allowed) in enumerate(zip(values, choices, strict=True)):
                if value not in allowed and (active[index] or value != 0):
                    raise InputError(
                        f"gene `{gene}[{index}]` ({GENE_WORDS[gene]}) must be one of "
                        f"{', '.join(map(str, allowed))}, but got {value}"
                    )

    def canonical(self, subnet: Subnet) -> Subnet:
        """The subnet with the genes of skipped blocks set to 0: equal networks become equal."""
        self.validate(subnet)
        active = self.is_active(subnet.d)

        def keep(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(v if on else 0 for v, on in zip(values, active, strict=True))

        ks = keep(subnet.ks) if subnet.ks else ()
        return Subnet(subnet.d, ks, keep(subnet.e), subnet.w, subnet.resolution)

    def extreme(self, resolution: int, *, largest: bool) -> Subnet:
        """The subnet with every gene at its greatest or at its least."""
        pick = max if largest else min
        genes = {name: tuple(pick(c) for c in getattr(self, name)) for name in GENE_WORDS}
        return self.canonical(Subnet(**genes, resolution=resolution))

    def uniform(self, resolution: int) -> list[Subnet]:
        """Every subnet whose blocks all share kernel size and expansion and stages their depth.

        ResNets: expansion, depth and width.
        """
        found = []
        shared = [sorted(set().union(*getattr(self, name))) or [None] for name in GENE_WORDS]
        for values in product(*shared):
            genes = {
                name: tuple(_nearest(choices, value) for choices in getattr(self, name))
                for name, value in zip(GENE_WORDS, values, strict=True)
            }
            found.append(self.canonical(Subnet(**genes, resolution=resolution)))
        return list(dict.fromkeys(found))

    def sample(self, rng: random.Random, resolution: int) -> Subnet:
        """Every gene drawn uniformly."""
        genes = {
            name: tuple(rng.choice(choices) for choices in getattr(self, name))
            for name in GENE_WORDS
        }
        return self.canonical(Subnet(**genes, resolution=resolution))

    def settings(self, subnet: Subnet) -> dict[str, list[Any]]:
        """Arguments of `ofa`'s `set_active_subnet`; a skipped block gets any valid value."""
        self.validate(subnet)
        return {
            name: [
                value if value in choices else choices[0]
                for value, choices in zip(getattr(subnet, name), getattr(self, name), strict=True)
            ]
            for name in GENE_WORDS
            if getattr(self, name)
        }


def _nearest(choices: Sequence[Any], value: Any) -> Any:
    return min(choices, key=lambda choice: abs(choice - value))
