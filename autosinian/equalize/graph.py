"""A network as a `torch.fx` graph whose operations carry the names of their modules."""

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from autosinian.errors import InputError

_MODULE_KINDS: dict[type[nn.Module], str] = {
    nn.AdaptiveAvgPool2d: "GlobalAveragePool",
    nn.AvgPool2d: "AveragePool",
    nn.BatchNorm2d: "BatchNormalization",
    nn.Conv2d: "Conv",
    nn.Dropout: "Identity",
    nn.Flatten: "Reshape",
    nn.Hardsigmoid: "HardSigmoid",
    nn.Hardswish: "HardSwish",
    nn.Identity: "Identity",
    nn.LeakyReLU: "LeakyRelu",
    nn.Linear: "Gemm",
    nn.MaxPool2d: "MaxPool",
    nn.PReLU: "PRelu",
    nn.ReLU: "Relu",
    nn.ReLU6: "Clip",
    nn.Sigmoid: "Sigmoid",
    nn.Softmax: "Softmax",
    nn.Unflatten: "Reshape",
}
_FUNCTION_KINDS: dict[Callable[..., Any], str] = {
    functional.relu: "Relu",
    functional.softmax: "Softmax",
    operator.add: "Add",
    operator.iadd: "Add",
    operator.mul: "Mul",
    operator.sub: "Sub",
    operator.truediv: "Div",
    torch.add: "Add",
    torch.cat: "Concat",
    torch.concat: "Concat",
    torch.flatten: "Reshape",
    torch.mul: "Mul",
    torch.permute: "Reshape",
    torch.relu: "Relu",
    torch.reshape: "Reshape",
    torch.softmax: "Softmax",
    torch.transpose: "Reshape",
    torch.unflatten: "Reshape",
}
_METHOD_KINDS = {
    "add": "Add",
    "add_": "Add",
    "contiguous": "Reshape",
    "flatten": "Reshape",
    "mul": "Mul",
    "permute": "Reshape",
    "relu": "Relu",
    "relu_": "Relu",
    "reshape": "Reshape",
    "softmax": "Softmax",
    "squeeze": "Reshape",
    "transpose": "Reshape",
    "unflatten": "Reshape",
    "unsqueeze": "Reshape",
    "view": "Reshape",
}
MOVES = ("Identity", "Reshape")
"""Kinds that only move values: what comes out lies on the grid of what goes in."""

SHAPE = "Shape"
"""The kind of nodes that compute with sizes, not with activations."""


def trace(module: nn.Module) -> fx.GraphModule:
    """A copy of `module`, in inference mode and without in-place operations, as a graph.

    Raises `InputError` where the network's path depends on its values.
    """
    network = copy.deepcopy(module).eval()
    for part in network.modules():
        if getattr(part, "inplace", False) is True:
            setattr(part, "inplace", False)  # noqa: B010  (which modules have it is not typed)
    try:
        return fx.symbolic_trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"the network must be traceable by torch.fx, but {type(module).__name__} is not: "
            f"{reason}"
        ) from error


def kind(network: fx.GraphModule, node: fx.Node) -> str:
    """What a node computes, in ONNX's word for it; "Input", "Output" and "Shape" beside these.

    A module or function that is not known is called by its own name.
    """
    if node.op == "placeholder":
        return "Input"
    if node.op == "output":
        return "Output"
    if node.op == "get_attr":
        return "Constant"
    if _computes_sizes(node):
        return SHAPE
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        return _MODULE_KINDS.get(type(module), type(module).__name__)
    if node.op == "call_method":
        return _METHOD_KINDS.get(str(node.target), str(node.target))
    assert callable(node.target)
    return _FUNCTION_KINDS.get(node.target, getattr(node.target, "__name__", str(node.target)))


def owner(network: fx.GraphModule, node: fx.Node) -> str:
    """The name of the innermost module that calls a node; empty for the network itself."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""


def own_name(network: fx.GraphModule, node: fx.Node) -> str | None:
    """The name of the module that is this one operation, or None for an operation among others.

    An addition in a module without children, called nowhere else, is named by that module.
    """
    name = owner(network, node)
    if node.op == "placeholder":
        return str(node.target)
    if node.op not in ("call_module", "call_function", "call_method") or not name:
        return None
    if node.op != "call_module":
        operations = [
            other
            for other in network.graph.nodes
            if other.op in ("call_function", "call_method")
            and owner(network, other) == name
            and kind(network, other) not in (SHAPE, *MOVES)
        ]
        # The modules of a traced graph keep only what is called: the stack keeps the class.
        if operations != [node] or _calls_children(network, name):
            return None
    return name


def calls(network: fx.GraphModule) -> dict[str, list[fx.Node]]:
    """The nodes that call each module, in the order of the graph."""
    found: dict[str, list[fx.Node]] = {}
    for node in network.graph.nodes:
        if node.op == "call_module":
            found.setdefault(str(node.target), []).append(node)
    return found


def consumers(node: fx.Node) -> list[fx.Node]:
    """The nodes that read a node's value, in the order of the graph."""
    return list(node.users)


def _calls_children(network: fx.GraphModule, name: str) -> bool:
    return any(called.startswith(f"{name}.") for called in calls(network))


def _computes_sizes(node: fx.Node) -> bool:
    """`x.size(0)`, `x.shape`, and arithmetic and indexing of such values alone."""
    if node.op == "call_method" and node.target in ("size", "dim"):
        return True
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    sources = node.all_input_nodes
    arithmetic = (operator.getitem, operator.add, operator.mul, operator.sub, operator.floordiv)
    return node.target in arithmetic and bool(sources) and all(map(_computes_sizes, sources))
