"""A folded subnet as ONNX."""

import torch

from subnet_table.folding import FoldedNetwork


def to_onnx(network: FoldedNetwork, resolution: int) -> bytes:
    """`images`, `N x 3 x r x r` float32, to `logits`, `N x classes`."""
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
        nodes.append(
            helper.make_node(
                "Conv", inputs, [x], kernel_shape=[c.size] * 2, strides=[c.stride] * 2,
                pads=[c.size // 2] * 4, group=c.groups,
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
