"""Which tensors and parameters of a network have an encoding, and of which sort."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from autosinian.encodings.configuration import Configuration, OperationType, Parameter
from autosinian.encodings.exceptions import Exceptions, Names, check_exceptions
from autosinian.equalize.graph import MOVES, SHAPE, calls, kind, own_name, owner
from autosinian.errors import InputError

NEVER = frozenset(("Softmax", "LogSoftmax"))
"""Kinds whose output has no encoding, whatever the configuration says."""

_UNTOUCHED = frozenset(("Constant", "Input", "Output", SHAPE, *MOVES, *NEVER))
_LAYERS = frozenset(("Conv", "Gemm"))


@dataclass(frozen=True)
class Slot:
    """One encoding to be made; `higher_precision` are encoded over 31 bits and not rounded."""

    name: str
    symmetric: bool
    higher_precision: bool = False
    per_channel: bool = False


@dataclass(frozen=True)
class Placement:
    """The encodings that a network is to have, and how its symmetric ranges are read."""

    activations: tuple[Slot, ...]
    parameters: tuple[Slot, ...]
    strict: bool
    unsigned: bool


def named_nodes(network: fx.GraphModule) -> dict[fx.Node, str]:
    """The name of each tensor that has one: the input's, or that of the module that gives it.

    Raises `InputError` where two tensors would have one name, or an operation that needs an
    encoding has none.
    """
    called = calls(network)
    names = {}
    for node in network.graph.nodes:
        found = kind(network, node)
        name = own_name(network, node)
        if found in _UNTOUCHED and found != "Input":
            if name is not None and found not in MOVES and len(called.get(name, [node])) == 1:
                names[node] = name
            continue
        if node.op == "call_module" and len(called[str(node.target)]) > 1:
            raise InputError(
                f"every call must be a module of its own to have its own encoding, but {found} "
                f"`{node.target}` is called {len(called[str(node.target)])} times: give each call "
                "a module"
            )
        if name is None:
            place = owner(network, node)
            raise InputError(
                f"every {found} must be a module of its own to have its own encoding, but "
                f"`{place or type(network).__name__}` does it in a function (`{node.name}`): move "
                "it to a module"
            )
        names[node] = name
    return names


def place(
    network: fx.GraphModule, configuration: Configuration, exceptions: Exceptions
) -> Placement:
    """The encodings of a folded network by `configuration`, and `exceptions` by name.

    Raises `InputError` for an exception that names nothing, and as `named_nodes`.
    """
    names = named_nodes(network)
    inner = _inside_supergroups(network, configuration)
    activations = []
    parameters = []
    for node, name in names.items():
        found = kind(network, node)
        if found == "BatchNormalization":
            raise InputError(
                f"batch norm must be folded before encodings are made, but `{name}` follows no "
                "convolution of its own"
            )
        own = configuration.op_type.get(found, OperationType())
        if _is_quantized(node, found, configuration, own) and node not in inner:
            symmetric = _first(own.is_symmetric, configuration.defaults.ops.is_symmetric)
            activations.append(
                Slot(
                    name,
                    symmetric and name not in exceptions.asymmetric_activations,
                    name in exceptions.higher_precision,
                )
            )
        if found in _LAYERS:
            parameters += _parameters(network, name, configuration, own, exceptions)
    layers = frozenset(slot.name.rpartition(".")[0] for slot in parameters)
    tensors = frozenset(slot.name for slot in activations)
    check_exceptions(exceptions, Names(layers, tensors, frozenset(names.values())))
    defaults = configuration.defaults
    return Placement(
        tuple(activations),
        tuple(parameters),
        defaults.strict_symmetric,
        defaults.unsigned_symmetric,
    )


def source(node: fx.Node, names: Mapping[fx.Node, str], network: fx.GraphModule) -> str | None:
    """The named tensor that a node gives, seen through operations that only move values."""
    while node not in names:
        if kind(network, node) not in MOVES or not node.all_input_nodes:
            return None
        node = node.all_input_nodes[0]
    return names[node]


def _is_quantized(
    node: fx.Node, found: str, configuration: Configuration, own: OperationType
) -> bool:
    if found in NEVER:
        return False
    if found == "Input":
        return configuration.model_input.is_input_quantized
    quantized = _first(own.is_output_quantized, configuration.defaults.ops.is_output_quantized)
    if any(user.op == "output" for user in node.users):
        return _first(configuration.model_output.is_output_quantized, quantized)
    return quantized


def _parameters(
    network: fx.GraphModule,
    name: str,
    configuration: Configuration,
    own: OperationType,
    exceptions: Exceptions,
) -> list[Slot]:
    slots = []
    for role, _ in network.get_submodule(name).named_parameters(recurse=False):
        assert role in ("weight", "bias")
        special = own.params.get(role, Parameter())  # type: ignore[call-overload]
        general = configuration.params.get(role, Parameter())  # type: ignore[call-overload]
        defaults = configuration.defaults
        symmetric = _first(special.is_symmetric, general.is_symmetric, defaults.params.is_symmetric)
        quantized = _first(special.is_quantized, general.is_quantized, defaults.params.is_quantized)
        if role == "weight" and name in exceptions.asymmetric_weights:
            symmetric = False
        wide = role == "bias" or not quantized or name in exceptions.higher_precision
        per_channel = _first(own.per_channel_quantization, defaults.per_channel_quantization)
        slots.append(Slot(f"{name}.{role}", symmetric, wide, per_channel and not wide))
    return slots


def _inside_supergroups(network: fx.GraphModule, configuration: Configuration) -> set[fx.Node]:
    """Nodes whose output stays within a supergroup: the longest that fits counts."""
    groups = sorted((group.op_list for group in configuration.supergroups), key=len, reverse=True)
    inner: set[fx.Node] = set()
    for node in network.graph.nodes:
        for group in groups:
            chain = _chain(network, node, group)
            if chain and not inner.intersection(chain):
                inner.update(chain[:-1])
                break
    return inner


def _chain(network: fx.GraphModule, node: fx.Node, group: tuple[str, ...]) -> list[fx.Node]:
    chain = [node]
    if kind(network, node) != group[0]:
        return []
    for wanted in group[1:]:
        if len(chain[-1].users) != 1:
            return []
        following = next(iter(chain[-1].users))
        if kind(network, following) != wanted:
            return []
        chain.append(following)
    return chain


def _first(*values: bool | None) -> bool:
    """The first that is told."""
    return next((value for value in values if value is not None), False)
