"""A supernet's genes without its weights, and documents over them."""

from dataclasses import dataclass

from autosinian.space.candidate import Option, Subnet
from autosinian.space.document import Document, parse_document
from autosinian.space.space import Space


@dataclass(frozen=True)
class SmallGenes:
    """Choices by position, as `autosinian.space.space.Genes` asks."""

    d: tuple[tuple[int, ...], ...]
    ks: tuple[tuple[int, ...], ...]
    e: tuple[tuple[float, ...], ...]
    w: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class SmallSupernet:
    """Stages of `blocks` blocks each and a last stage of one block, as OFA ProxylessNAS has."""

    stages: int = 2
    blocks: int = 3
    depths: tuple[int, ...] = (1, 2, 3)
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[float, ...] = (3, 4, 6)
    resolutions: tuple[int, ...] = (28, 32)
    sha256: str = "0" * 64

    @property
    def genes(self) -> SmallGenes:
        """Every position has all choices; the last stage has depth 1 only."""
        count = self.stages * self.blocks + 1
        return SmallGenes(
            d=(self.depths,) * self.stages + ((1,),),
            ks=(self.kernels,) * count,
            e=(self.expansions,) * count,
        )

    def canonical(self, subnet: Subnet) -> Subnet:
        """Genes of skipped blocks are 0."""
        depths = [min(d, self.blocks) for d in subnet.d[: self.stages]]
        active = [block < depth for depth in depths for block in range(self.blocks)] + [True]
        return Subnet(
            d=subnet.d,
            ks=tuple(k if a else 0 for k, a in zip(subnet.ks, active, strict=True)),
            e=tuple(e if a else 0 for e, a in zip(subnet.e, active, strict=True)),
            w=(),
            resolution=subnet.resolution,
        )

    def _same(self, depth: int, kernel: int, expansion: float, resolution: int) -> Subnet:
        count = self.stages * self.blocks + 1
        depths = (depth,) * self.stages + (1,)
        return self.canonical(
            Subnet(depths, (kernel,) * count, (expansion,) * count, (), resolution)
        )

    def largest(self, resolution: int) -> Subnet:
        """Every gene at its greatest choice."""
        return self._same(max(self.depths), max(self.kernels), max(self.expansions), resolution)

    def smallest(self, resolution: int) -> Subnet:
        """Every gene at its least choice."""
        return self._same(min(self.depths), min(self.kernels), min(self.expansions), resolution)

    def uniform(self, resolution: int) -> list[Subnet]:
        """The same genes everywhere, all combinations."""
        return [
            self._same(d, k, e, resolution)
            for d in self.depths
            for k in self.kernels
            for e in self.expansions
        ]


@dataclass(frozen=True)
class SmallTunable:
    """One tunable, as `autosinian.space.space.Tunes` asks."""

    name: str
    default: Option
    low: int | None = None
    high: int | None = None
    choices: tuple[Option, ...] = ()


TUNABLES = (
    SmallTunable("streams", 1, 1, 4),
    SmallTunable("pinning", True, choices=(True, False)),
)
PRECISIONS = ("fp32", "int8")

TEXT = """\
supernet: small.pt
data: {name: fashion_mnist}
engine: small
objectives: [accuracy, samples_per_second]
constraints: [accuracy >= reference - 0.01]
quantization: {precision: [fp32, int8], calibration: [minmax, entropy]}
serving:
  batch_size: {low: 1, high: 64, log: true}
  streams: {low: 1, high: 2}
"""


def small_document(text: str = TEXT) -> Document:
    """A valid document."""
    return parse_document(text, "space.yaml")


def small_space(text: str = TEXT, supernet: SmallSupernet | None = None) -> Space:
    """The space of a document over a small supernet."""
    return Space(small_document(text), supernet or SmallSupernet(), TUNABLES, PRECISIONS)
