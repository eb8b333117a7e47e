"""A fixed network, opened: the one candidate architecture of a space without a supernet."""

import hashlib
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx

from autosinian.data.preprocessing import Preprocessing, imagenet_short_side
from autosinian.errors import InputError, TrialFailure
from autosinian.network.cost import graph_cost
from autosinian.network.prepare import Prepared, prepare
from autosinian.network.source import load_module, module_source
from autosinian.quantize.export import export_onnx
from autosinian.quantize.onnx_file import has_external_data, load_onnx
from autosinian.space.candidate import Subnet
from autosinian.space.document import NetworkSpec
from autosinian.supernet.cost import Cost

DETECTOR_SUFFIXES = (".pt", ".pth")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FixedInput:
    """How a fixed network wants its images; `resize` is as in `NetworkSpec`."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: int | str | None
    interpolation: str

    @classmethod
    def of(cls, spec: NetworkSpec) -> "FixedInput":
        """The rule that a space file tells."""
        mean, std = spec.mean or IMAGENET_MEAN, spec.std or IMAGENET_STD
        full = spec.pixel_range
        return cls(
            (mean[0] / full, mean[1] / full, mean[2] / full),
            (std[0] / full, std[1] / full, std[2] / full),
            spec.resize,
            spec.interpolation,
        )

    def at(self, resolution: int) -> Preprocessing:
        """The rule for one resolution."""
        resize: int | None
        if self.resize == "direct":
            resize = None
        else:
            resize = imagenet_short_side(resolution) if self.resize is None else int(self.resize)
        return Preprocessing(resolution, self.mean, self.std, resize, self.interpolation)


@dataclass(frozen=True)
class NoGenes:
    """The genes of a network that has nothing to choose."""

    d: tuple[tuple[int, ...], ...] = ()
    ks: tuple[tuple[int, ...], ...] = ()
    e: tuple[tuple[float, ...], ...] = ()
    w: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class FixedNetwork:
    """One network at one resolution, in the shape of a supernet with a single subnet.

    `source` is its ONNX as given or exported, `prepared` the same as engines want it.
    """

    name: str
    source: bytes
    prepared: Prepared
    preprocessing: FixedInput

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of `source`: that of the user's file, where its weights are in it."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return self.prepared.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of its classes where it knows them."""
        return ()

    @property
    def task(self) -> dict[str, int | str]:
        """The task as jobs tell it; empty is classification."""
        return {}

    @property
    def genes(self) -> NoGenes:
        """None to choose."""
        return NoGenes()

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The one it takes."""
        return (self.prepared.resolution,)

    def canonical(self, subnet: Subnet) -> Subnet:
        """The same."""
        return subnet

    def largest(self, resolution: int) -> Subnet:
        """The only one."""
        return Subnet((), (), (), (), resolution)

    def smallest(self, resolution: int) -> Subnet:
        """The only one."""
        return self.largest(resolution)

    def uniform(self, resolution: int) -> list[Subnet]:
        """None beside the only one."""
        return []

    @cached_property
    def cost(self) -> Cost:
        """Multiply-adds of one image, and parameters."""
        return graph_cost(self.prepared.model)


def open_network(spec: NetworkSpec) -> FixedNetwork:
    """Open the network of a space file: read or export its ONNX, check and prepare it.

    Raises `InputError` for whatever cannot be searched, in one line.
    """
    if Path(spec.source).suffix in DETECTOR_SUFFIXES:
        from autosinian.network.detector import open_detector_network

        return open_detector_network(spec)
    label = f"`{spec.source}`"
    if spec.autoconfig is not None:
        raise InputError(
            f"`autoconfig` names kernels of a model folder of integers, but {label} is none"
        )
    source = _exported(spec) if module_source(spec.source) else _read(Path(spec.source))
    rule = FixedInput.of(spec)
    prepared = prepare(onnx.load_model_from_string(source), spec.resolution, label)
    rule.at(prepared.resolution)  # a `resize` below the resolution is told now
    return FixedNetwork(
        name=spec.source.rpartition("/")[2],
        source=source,
        prepared=prepared,
        preprocessing=rule,
    )


def _read(path: Path) -> bytes:
    """The file's bytes, or those of one file where its weights lie beside it."""
    if not path.is_file():
        raise InputError(
            "the network must be an ONNX file, `package.module:name` or `file.py:name`, but there "
            f"is no file `{path}`"
        )
    model, content = load_onnx(path), path.read_bytes()
    if has_external_data(onnx.load_model_from_string(content)):
        return bytes(model.SerializeToString(deterministic=True))
    return content


def _exported(spec: NetworkSpec) -> bytes:
    source = module_source(spec.source)
    assert source is not None
    if spec.resolution is None:
        raise InputError(
            f"network `{spec.source}` is a torch module: give its `resolution`, in pixels"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exported.onnx"
        try:
            export_onnx(load_module(source), spec.resolution, path)
        except TrialFailure as failure:
            raise InputError(
                f"network `{spec.source}` must be exportable to ONNX, but {failure.reason}"
            ) from failure
        return path.read_bytes()
