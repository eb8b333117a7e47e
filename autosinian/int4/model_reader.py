"""The folder of a network, read: one text file a layer and `npdata/` with the values.

The tree of layers is that of the first publication: `model` (ResNetQuantized), `conv1`,
`quantize1`, `relu`, `maxpool`, `layer1` ... (Sequential), `layer1_0` ... (BottleneckQuantized) with
their `_conv1`, `_quantize1`, `_conv2`, `_quantize2`, `_conv3`, `_quantize3`, `_relu` and
`_downsample` (Quantize, or Sequential of `_0` Conv2d, `_1`, `_2` Quantize), then `avgpool`, `fc`,
`scale`. There may be any number of layers.

One extension is ours, a stem of several convolutions: `conv1` is a Sequential of `conv1_<i>`, type
`ConvQuantized` with `stride` and `downsample_layer`, each with `_conv`, `_quantize`, `_relu` and,
where `downsample_layer` is True, `_downsample` (Quantize); `quantize1` and `relu` are then absent.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.int4.blobs import blob_bytes, decode
from autosinian.int4.consistency import stem_names
from autosinian.int4.layer_forms import (
    read_average_pool,
    read_conv,
    read_linear,
    read_max_pool,
    read_quantize,
    read_relu,
    read_scale,
)
from autosinian.int4.layer_text import (
    LayerText,
    TensorPlace,
    blob_name,
    parse_layer_text,
)
from autosinian.int4.model_files import BLOBS, FolderFiles, ModelFiles
from autosinian.int4.network import Bottleneck, Conv, Downsample, Network, Quantize, StemUnit

_LARGEST_BLOB = 1 << 28


def read_model(folder: Path) -> Network:
    """The network of a model folder.

    Raises `InputError` with the layer's name for whatever is missing, unknown, of another size or
    not consistent.
    """
    return read_network(FolderFiles(folder))


def read_network(files: ModelFiles) -> Network:
    """`read_model` for files that lie elsewhere than in a folder."""
    reader = _Reader(files)
    root = reader.layer("model")
    root.expect("ResNetQuantized", "compute_mode")
    root.must_be("compute_mode", "s8f32")
    stem = tuple(_read_stem(reader))
    pool, pool_type = read_max_pool(reader.layer("maxpool"))
    if pool_type != stem[-1].quantize.output_type:
        raise InputError(
            f"INT4 layer maxpool must pool {stem[-1].quantize.output_type}, what is before it, "
            f"got {pool_type}"
        )
    layers: list[tuple[Bottleneck, ...]] = []
    while not layers or reader.has(f"layer{len(layers) + 1}"):
        name = f"layer{len(layers) + 1}"
        count = _children(reader.layer(name))
        layers.append(tuple(_read_block(reader, f"{name}_{index}") for index in range(count)))
    network = Network(
        stem,
        pool,
        tuple(layers),
        read_average_pool(reader.layer("avgpool")),
        read_linear(*reader.with_tensors("fc")),
        read_scale(*reader.with_tensors("scale")),
        reader.line_end,
    )
    reader.refuse_what_is_left()
    return network


class _Reader:
    """Reads layers by name and remembers which files were needed."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._names = files.names()
        self._used: set[str] = set()
        self.line_end = ""

    def has(self, name: str) -> bool:
        """Whether there is a layer of that name."""
        return name in self._names

    def layer(self, name: str) -> LayerText:
        """The text of a layer."""
        layer, line_end = parse_layer_text(name, self._bytes(name, 1 << 20))
        if self.line_end and line_end != self.line_end:
            raise InputError(
                f"INT4 layer file {name} must end its lines as the file `model` does "
                f"({self.line_end!r}), got {line_end!r}"
            )
        self.line_end = line_end
        return layer

    def with_tensors(self, name: str) -> tuple[LayerText, "_Tensors"]:
        """A layer and its tensors, whose blobs are read when they are asked for."""
        layer = self.layer(name)
        return layer, _Tensors(self, layer)

    def refuse_what_is_left(self) -> None:
        """Raise `InputError` for a file that no layer asked for."""
        for name in sorted(self._names - self._used):
            raise InputError(f"{self._files.told} has {name}, which belongs to no layer; remove it")

    def tensor(self, name: str, place: TensorPlace) -> NDArray[np.generic]:
        """The values of the blob `name`."""
        wanted = blob_bytes(place)
        if wanted > _LARGEST_BLOB:
            raise InputError(f"INT4 blob {name} must be at most {_LARGEST_BLOB} B, got {wanted}")
        content = self._bytes(name, wanted)
        if len(content) != wanted:
            dims = " x ".join(map(str, place.dims))
            raise InputError(
                f"INT4 blob {name} must have {wanted} bytes ({place.dtype}, {dims}), "
                f"got {self._files.size(name)}"
            )
        return decode(place, content)

    def _bytes(self, name: str, most: int) -> bytes:
        self._used.add(name)
        if name not in self._names:
            raise InputError(f"{self._files.told} must hold the file {name}, but does not")
        return self._files.read(name, most + 1)


class _Tensors(Mapping[str, NDArray[np.generic]]):
    """The tensors of one layer by key; what its text says can be checked before any is read."""

    def __init__(self, reader: _Reader, layer: LayerText) -> None:
        self._reader, self._layer = reader, layer

    def __getitem__(self, key: str) -> NDArray[np.generic]:
        name = f"{BLOBS}/{blob_name(self._layer.name, key)}"
        return self._reader.tensor(name, self._layer.tensor(key))

    def __iter__(self) -> Iterator[str]:
        values = self._layer.values.items()
        return (key for key, value in values if isinstance(value, TensorPlace))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _children(layer: LayerText) -> int:
    layer.expect("Sequential", "children_count")
    count = layer.integer("children_count")
    if not 1 <= count <= 1000:
        raise InputError(f"INT4 layer {layer.name} must have 1 to 1000 children, got {count}")
    return count


def _conv(reader: _Reader, name: str) -> Conv:
    return read_conv(*reader.with_tensors(name))


def _quantize(reader: _Reader, name: str) -> Quantize:
    return read_quantize(*reader.with_tensors(name))


def _read_stem(reader: _Reader) -> Iterator[StemUnit]:
    if reader.layer("conv1").kind != "Sequential":
        yield StemUnit(_conv(reader, "conv1"), _quantize(reader, "quantize1"))
        read_relu(reader.layer("relu"))
        return
    count = _children(reader.layer("conv1"))
    if count < 2:
        raise InputError("INT4 layer conv1 must be a Conv2d, or a Sequential of at least 2, got 1")
    for index in range(count):
        layer = reader.layer(f"conv1_{index}")
        layer.expect("ConvQuantized", "stride", "downsample_layer")
        conv, quantize, residual = stem_names(index, count)
        read_relu(reader.layer(f"{layer.name}_relu"))
        unit = StemUnit(
            _conv(reader, conv),
            _quantize(reader, quantize),
            _quantize(reader, residual) if _flag(layer, "downsample_layer") else None,
        )
        _check_stride(layer, unit.conv)
        yield unit


def _read_block(reader: _Reader, name: str) -> Bottleneck:
    layer = reader.layer(name)
    layer.expect("BottleneckQuantized", "stride", "downsample_layer")
    layer.must_be("downsample_layer", "True")
    residual: Quantize | Downsample
    down = f"{name}_downsample"
    if reader.layer(down).kind == "Sequential":
        reader.layer(down).expect("Sequential", "children_count")
        reader.layer(down).must_be("children_count", "3")
        residual = Downsample(
            _conv(reader, f"{down}_0"),
            _quantize(reader, f"{down}_1"),
            _quantize(reader, f"{down}_2"),
        )
    else:
        residual = _quantize(reader, down)
    read_relu(reader.layer(f"{name}_relu"))
    block = Bottleneck(
        _conv(reader, f"{name}_conv1"),
        _quantize(reader, f"{name}_quantize1"),
        _conv(reader, f"{name}_conv2"),
        _quantize(reader, f"{name}_quantize2"),
        _conv(reader, f"{name}_conv3"),
        residual,
        _quantize(reader, f"{name}_quantize3"),
    )
    _check_stride(layer, block.conv2)
    return block


def _flag(layer: LayerText, key: str) -> bool:
    if layer.text(key) not in ("True", "False"):
        raise InputError(
            f"INT4 layer {layer.name}: {key} must be True or False, got {layer.text(key)!r}"
        )
    return layer.text(key) == "True"


def _check_stride(layer: LayerText, conv: Conv) -> None:
    if conv.stride != (layer.integer("stride"),) * 2:
        raise InputError(
            f"INT4 layer {layer.name} must have the stride of {conv.name}, {conv.stride[0]}, "
            f"got {layer.text('stride')}"
        )
