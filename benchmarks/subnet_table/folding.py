"""A subnet with its batch norm folded away: a list of convolutions, for torch and for ONNX."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Convolution:
    """A square convolution with bias, ReLU6 after it where `relu6`.

    `weight` is `out x in/groups x k x k`. Where `opens`, its input is kept and added to the output
    of the next convolution that `closes`.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int
    padding: int
    groups: int
    relu6: bool
    opens: bool = False
    closes: bool = False


@dataclass(frozen=True)
class FoldedNetwork:
    """Convolutions, then global average pooling and the classifier, `classes x channels`."""

    convolutions: tuple[Convolution, ...]
    weight: torch.Tensor
    bias: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "FoldedNetwork":
        """A copy there, its weights in channels-last layout."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            layout = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
            return tensor.to(device, dtype, memory_format=layout)

        return FoldedNetwork(
            tuple(
                Convolution(
                    moved(c.weight), moved(c.bias), c.stride, c.padding, c.groups, c.relu6, c.opens,
                    c.closes,
                )
                for c in self.convolutions
            ),
            moved(self.weight),
            moved(self.bias),
        )  # fmt: skip

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, `N x classes`, of `N x 3 x r x r` images."""
        x = kept = images
        for c in self.convolutions:
            if c.opens:
                kept = x
            x = functional.conv2d(x, c.weight, c.bias, c.stride, c.padding, 1, c.groups)
            if c.relu6:
                x = functional.hardtanh_(x, 0.0, 6.0)
            if c.closes:
                x = x.add_(kept)
        return functional.linear(x.mean((2, 3)), self.weight, self.bias)


def fold(module: Any) -> FoldedNetwork:
    """Fold an extracted ProxylessNAS subnet; raises `TypeError` for a layer it does not know."""
    convolutions = [_folded(module.first_conv, relu6=True)]
    for block in module.blocks:
        inner = [
            _folded(getattr(block.conv, name), relu6=name != "point_linear")
            for name in ("inverted_bottleneck", "depth_conv", "point_linear")
            if getattr(block.conv, name, None) is not None
        ]
        if block.shortcut is not None:
            if type(block.shortcut).__name__ != "IdentityLayer":
                raise TypeError(f"no shortcut `{type(block.shortcut).__name__}` can be folded")
            inner[0] = _marked(inner[0], opens=True)
            inner[-1] = _marked(inner[-1], closes=True)
        convolutions += inner
    convolutions.append(_folded(module.feature_mix_layer, relu6=True))
    linear = module.classifier.linear
    return FoldedNetwork(tuple(convolutions), linear.weight.detach(), linear.bias.detach())


def _folded(layer: Any, *, relu6: bool) -> Convolution:
    """`conv` and `bn` of a layer as one convolution."""
    has_activation = type(getattr(layer, "act", None)).__name__ == "ReLU6"
    if has_activation != relu6:
        raise TypeError(f"the activation of `{type(layer).__name__}` can not be folded")
    conv, norm = layer.conv, layer.bn
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return Convolution(
        weight=conv.weight.detach() * scale[:, None, None, None],
        bias=norm.bias.detach() - norm.running_mean * scale,
        stride=int(conv.stride[0]),
        padding=int(conv.padding[0]),
        groups=int(conv.groups),
        relu6=relu6,
    )


def _marked(c: Convolution, *, opens: bool = False, closes: bool = False) -> Convolution:
    return Convolution(
        c.weight, c.bias, c.stride, c.padding, c.groups, c.relu6, c.opens or opens,
        c.closes or closes,
    )  # fmt: skip


def to_onnx(network: FoldedNetwork, resolution: int) -> bytes:
    """The network as ONNX: `images`, `N x 3 x r x r` float32, to `logits`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []

    def constant(name: str, tensor: torch.Tensor) -> str:
        array = tensor.detach().cpu().float().contiguous().numpy()
        weights.append(numpy_helper.from_array(array, name))
        return name

    constant("low", torch.tensor(0.0))
    constant("high", torch.tensor(6.0))
    x = kept = "images"
    for index, c in enumerate(network.convolutions):
        if c.opens:
            kept = x
        inputs = [x, constant(f"w{index}", c.weight), constant(f"b{index}", c.bias)]
        x = f"x{index}"
        size = int(c.weight.shape[-1])
        nodes.append(
            helper.make_node(
                "Conv", inputs, [x], kernel_shape=[size, size], strides=[c.stride] * 2,
                pads=[c.padding] * 4, group=c.groups,
            )
        )  # fmt: skip
        if c.relu6:
            nodes.append(helper.make_node("Clip", [x, "low", "high"], [f"{x}r"]))
            x = f"{x}r"
        if c.closes:
            nodes.append(helper.make_node("Add", [x, kept], [f"{x}s"]))
            x = f"{x}s"
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    classifier = [constant("cw", network.weight), constant("cb", network.bias)]
    nodes.append(helper.make_node("Gemm", ["flat", *classifier], ["logits"], transB=1))
    shape: list[str | int] = ["N", 3, resolution, resolution]
    graph = helper.make_graph(
        nodes,
        "subnet",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(network.bias)])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())
