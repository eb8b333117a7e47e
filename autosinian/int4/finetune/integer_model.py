"""A trained `QuantizedNetwork` as the plain integers that are written to a model folder."""

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.int4.finetune.folded import FoldedBlock, FoldedConv, FoldedStemStep
from autosinian.int4.finetune.layers import ACTIVATION_HIGH
from autosinian.int4.finetune.quantized import QuantizedNetwork, Trace
from autosinian.int4.network import (
    Bottleneck,
    Conv,
    Downsample,
    Linear,
    MaxPool,
    Network,
    Quantize,
    StemUnit,
)

_TYPES = {ACTIVATION_HIGH[4]: "u4", ACTIVATION_HIGH[8]: "u7"}


def integer_model(quantized: QuantizedNetwork, resolution: int) -> Network:
    """The integers that `quantized` computes with, for images of `resolution` pixels a side."""
    trace = Trace()
    image = torch.zeros(1, 3, resolution, resolution, device=quantized.input_scale.device)
    with torch.no_grad():
        quantized(image, trace)
    return _Assembly(quantized, trace).network(resolution)


class _Assembly:
    """Builds a `Network` from a trace."""

    def __init__(self, quantized: QuantizedNetwork, trace: Trace) -> None:
        self._quantized, self._trace = quantized, trace

    def network(self, resolution: int) -> Network:
        net, kind = self._quantized.network, "s8"
        stem = []
        for step in net.stem:
            stem.append(self._stem_unit(step, kind))
            kind = stem[-1].quantize.output_type
        layers = []
        for layer in net.layers:
            blocks = []
            for block in layer:
                blocks.append(self._block(block, kind))
                kind = blocks[-1].quantize3.output_type
            layers.append(tuple(blocks))
        linear, out_scale = self._trace.weights["fc"], self._trace.out_scale
        assert out_scale is not None
        side = resolution
        for conv in [unit.conv for unit in stem]:
            side, _ = conv.output_size(side, side)
        pool = MaxPool(kernel_size=3, stride=2, padding=1)
        side, _ = pool.output_size(side, side)
        for block_ in (block_ for blocks_ in layers for block_ in blocks_):
            side, _ = block_.conv2.output_size(side, side)
        return Network(
            stem=tuple(stem),
            max_pool=pool,
            layers=tuple(layers),
            pool_size=side,
            linear=Linear(_int8(linear.weight), _int32(linear.bias)),
            out_scale=out_scale.cpu().numpy().astype(np.float32),
        )

    def _stem_unit(self, step: FoldedStemStep, kind: str) -> StemUnit:
        residual = None
        if step.residual:
            name = step.quantize.removesuffix("_quantize") + "_downsample"
            residual = self._quantize(name, kind, "u31")
        return StemUnit(self._conv(step.conv, kind), self._activation(step.quantize), residual)

    def _block(self, block: FoldedBlock, kind: str) -> Bottleneck:
        name = block.name
        first, second = self._activation(f"{name}_quantize1"), self._activation(f"{name}_quantize2")
        residual: Quantize | Downsample
        if block.downsample is None:
            residual = self._quantize(f"{name}_downsample", kind, "u31")
        else:
            residual = Downsample(
                self._conv(block.downsample, kind),
                self._quantize(f"{name}_downsample_1", "s32", "s8"),
                self._quantize(f"{name}_downsample_2", "s8", "s32"),
            )
        return Bottleneck(
            conv1=self._conv(block.conv1, kind),
            quantize1=first,
            conv2=self._conv(block.conv2, first.output_type),
            quantize2=second,
            conv3=self._conv(block.conv3, second.output_type),
            residual=residual,
            quantize3=self._activation(f"{name}_quantize3"),
        )

    def _conv(self, conv: FoldedConv, kind: str) -> Conv:
        integers = self._trace.weights[conv.name]
        bits = self._quantized.conv(conv.name).bits
        return Conv(
            name=conv.name,
            weight=_int8(integers.weight),
            bias=_int32(integers.bias),
            stride=conv.stride,
            padding=conv.padding,
            weight_bits=bits,
            input_type=kind,
        )

    def _activation(self, name: str) -> Quantize:
        return self._quantize(name, "u31", _TYPES[self._quantized.step(name).high])

    def _quantize(self, name: str, reads: str, writes: str) -> Quantize:
        factor, shift = self._trace.factors[name]
        return Quantize(name, _int32(factor), int(shift), reads, writes)


def _int8(values: torch.Tensor) -> NDArray[np.int8]:
    return np.ascontiguousarray(values.detach().cpu().numpy().round().astype(np.int8))


def _int32(values: torch.Tensor) -> NDArray[np.int32]:
    return np.ascontiguousarray(values.detach().cpu().numpy().round().astype(np.int32))
