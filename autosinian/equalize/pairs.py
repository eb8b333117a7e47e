"""Layers whose channels can be scaled against each other: what lies between keeps every factor."""

from dataclasses import dataclass

from torch import fx, nn

from autosinian.equalize.graph import calls, kind

HOMOGENEOUS = frozenset(
    ("AveragePool", "GlobalAveragePool", "Identity", "LeakyRelu", "MaxPool", "PRelu", "Relu")
)
"""Kinds with `f(s x) = s f(x)` for every channel and `s > 0`. ReLU6 is none."""

LAYERS = frozenset(("Conv", "Gemm"))


@dataclass(frozen=True)
class Pair:
    """Two layers, and the kinds of the operations between them; names are those of modules."""

    first: str
    second: str
    between: tuple[str, ...]


def find_pairs(network: fx.GraphModule) -> list[Pair]:
    """Every pair of layers joined by one path of homogeneous operations, in graph order.

    A tensor that two operations read, an addition, a concatenation, or a layer that is called
    twice ends the search: scaling would change what others see.
    """
    once = {name for name, nodes in calls(network).items() if len(nodes) == 1}
    pairs = []
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target in once and kind(network, node) in LAYERS:
            pair = _from(network, node, once)
            if pair is not None:
                pairs.append(pair)
    return pairs


def _from(network: fx.GraphModule, start: fx.Node, once: set[str]) -> Pair | None:
    between: list[str] = []
    node = start
    while len(node.users) == 1:
        node = next(iter(node.users))
        found = kind(network, node)
        if node.op != "call_module" or node.args[:1] != tuple(node.all_input_nodes):
            return None
        name = str(node.target)
        if found in LAYERS:
            fits = name in once and _same_channels(network, str(start.target), name)
            return Pair(str(start.target), name, tuple(between)) if fits else None
        if found not in HOMOGENEOUS:
            return None
        between.append(found)
    return None


def _same_channels(network: fx.GraphModule, first: str, second: str) -> bool:
    """The channels that `first` gives are those that `second` takes, not regrouped."""
    given, taken = network.get_submodule(first), network.get_submodule(second)
    if isinstance(given, nn.Conv2d) and isinstance(taken, nn.Conv2d):
        return given.out_channels == taken.in_channels
    if isinstance(given, nn.Linear) and isinstance(taken, nn.Linear):
        return given.out_features == taken.in_features
    return False
