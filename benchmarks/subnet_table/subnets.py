"""Subnets as one word each, and the first generation that is measured."""

import random
from collections.abc import Iterator

from autosinian.space.candidate import Subnet
from autosinian.supernet.genes import GeneSpace


def word(subnet: Subnet) -> str:
    """The canonical subnet as `RESOLUTION-DEPTHS-KERNELS-EXPANSIONS`, one digit a gene."""
    genes = ("".join(f"{int(v)}" for v in values) for values in (subnet.d, subnet.ks, subnet.e))
    return "-".join((str(subnet.resolution), *genes))


def subnet_of(text: str) -> Subnet:
    """Inverse of `word`."""
    resolution, d, ks, e = text.split("-")
    digits = [tuple(int(c) for c in part) for part in (d, ks, e)]
    return Subnet(d=digits[0], ks=digits[1], e=digits[2], w=(), resolution=int(resolution))


def first_generation(
    genes: GeneSpace, resolutions: tuple[int, ...], count: int, seed: int
) -> Iterator[tuple[str, str]]:
    """`count` distinct `(word, origin)`: uniform subnets, then random and tilted ones in turn.

    `random` draws every gene uniformly, which by the law of large numbers gives subnets of nearly
    one size; `tilted` draws the odds of each gene's values first, so that sizes differ too.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    for resolution in resolutions:
        for subnet in genes.uniform(resolution):
            if len(seen) < count and word(subnet) not in seen:
                seen.add(word(subnet))
                yield word(subnet), "uniform"
    while len(seen) < count:
        tilt = len(seen) % 5 >= 3
        resolution = rng.choice(resolutions)
        subnet = tilted(genes, resolution, rng) if tilt else genes.sample(rng, resolution)
        if word(subnet) not in seen:
            seen.add(word(subnet))
            yield word(subnet), "tilted" if tilt else "random"


def tilted(genes: GeneSpace, resolution: int, rng: random.Random) -> Subnet:
    """A subnet whose genes are drawn with odds of its own, `u^2 : v^2 : w^2`, for each gene."""

    def draw(positions: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        odds = [rng.random() ** 2 + 1e-3 for _ in range(max(len(c) for c in positions))]
        return tuple(
            rng.choices(choices, odds[: len(choices)], k=1)[0] if len(choices) > 1 else choices[0]
            for choices in positions
        )

    expansions = tuple(tuple(int(v) for v in choices) for choices in genes.e)
    return genes.canonical(Subnet(draw(genes.d), draw(genes.ks), draw(expansions), (), resolution))
