"""The folder of a network, written: the same bytes that were read, whatever wrote them first."""

from collections.abc import Iterator
from pathlib import Path

from autosinian.content import atomic_folder
from autosinian.errors import InputError
from autosinian.int4.blobs import encode
from autosinian.int4.layer_forms import (
    Form,
    write_average_pool,
    write_conv,
    write_linear,
    write_max_pool,
    write_quantize,
    write_relu,
    write_scale,
)
from autosinian.int4.layer_text import LayerText, blob_name, format_layer_text
from autosinian.int4.model_files import BLOBS
from autosinian.int4.network import Bottleneck, Downsample, Network


def write_model(network: Network, folder: Path) -> None:
    """Write `network` to `folder`, whole or not at all; read and written again it stays the same.

    Raises `InputError` where `folder` exists.
    """
    if folder.exists():
        raise InputError(f"model folder {folder} must not exist yet; remove it or name another")
    with atomic_folder(folder) as temporary:
        (temporary / BLOBS).mkdir()
        for name, content in model_files(network).items():
            (temporary / name).write_bytes(content)


def model_files(network: Network) -> dict[str, bytes]:
    """The bytes of each file of a model folder by its name in the folder, sorted."""
    found: dict[str, bytes] = {}
    for layer, tensors in _forms(network):
        found[layer.name] = format_layer_text(layer, network.line_end)
        for key, values in tensors.items():
            dtype = layer.tensor(key).dtype
            found[f"{BLOBS}/{blob_name(layer.name, key)}"] = encode(dtype, values)
    return dict(sorted(found.items()))


def _plain(name: str, kind: str, **values: str) -> Form:
    return LayerText(name, kind, dict(values)), {}


def _forms(network: Network) -> Iterator[Form]:
    yield _plain("model", "ResNetQuantized", compute_mode="s8f32")
    if len(network.stem) > 1:
        yield _plain("conv1", "Sequential", children_count=str(len(network.stem)))
    for index, unit in enumerate(network.stem):
        relu = "relu"
        if len(network.stem) > 1:
            name = f"conv1_{index}"
            relu = f"{name}_relu"
            yield _plain(
                name,
                "ConvQuantized",
                stride=str(unit.conv.stride[0]),
                downsample_layer=str(unit.residual is not None),
            )
        yield from (write_conv(unit.conv), write_quantize(unit.quantize), write_relu(relu))
        if unit.residual is not None:
            yield write_quantize(unit.residual)
    yield write_max_pool(network.max_pool, network.stem[-1].quantize.output_type)
    for number, layer in enumerate(network.layers, 1):
        yield _plain(f"layer{number}", "Sequential", children_count=str(len(layer)))
        for block in layer:
            yield from _block_forms(block)
    yield write_average_pool(network.pool_size)
    yield write_linear(network.linear)
    yield write_scale(network.out_scale)


def _block_forms(block: Bottleneck) -> Iterator[Form]:
    stride = str(block.conv2.stride[0])
    yield _plain(block.name, "BottleneckQuantized", stride=stride, downsample_layer="True")
    yield write_relu(f"{block.name}_relu")
    for conv in block.convs():
        yield write_conv(conv)
    for quantize in (block.quantize1, block.quantize2, block.quantize3):
        yield write_quantize(quantize)
    if isinstance(block.residual, Downsample):
        yield _plain(f"{block.name}_downsample", "Sequential", children_count="3")
        yield write_quantize(block.residual.to_s8)
        yield write_quantize(block.residual.to_s32)
    else:
        yield write_quantize(block.residual)
