"""The layers of a TensorRT-RTX engine, from what its builder says: that needs no GPU."""

import re
from dataclasses import dataclass
from pathlib import Path

import onnx

from autosinian.engine.tensorrt_build import BuildSpec, Built, build, classifier_shape
from autosinian.engine.tensorrt_versions import Library
from autosinian.quantize.onnx_file import load_onnx

GENERATIONS = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0))

_LAYER = re.compile(
    r"^Name: (?P<name>.+?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], TacticName: .*"
    r"Metadata: (?P<metadata>.*)$",
    re.MULTILINE,
)
_TYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True)
class Layer:
    """One layer as it will run: what it computes for which ONNX nodes, and on which types."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]


def rtx() -> Library:
    """The installed TensorRT-RTX."""
    import tensorrt_rtx_bindings

    return Library("tensorrt_rtx_bindings", "tensorrt_rtx", tensorrt_rtx_bindings.__version__)


def built(
    path: Path, precision: str, capability: tuple[int, int], *, ladder: bool = False
) -> tuple[Built, list[Layer]]:
    """An engine for GPUs of `capability`, and its layers."""
    heard: list[str] = []
    model = load_onnx(path)
    shape, _ = classifier_shape(model, path)
    spec = BuildSpec(precision, 8, ladder, False, 3, 0, capability)
    engine = build(model, path, shape, spec, rtx(), heard.append)
    return engine, layers("\n".join(heard))


def layers(text: str) -> list[Layer]:
    """Every layer that the builder's words name."""
    return [
        Layer(
            match["name"],
            match["kind"],
            tuple(_TYPE.findall(match["inputs"])),
            tuple(_TYPE.findall(match["constants"])),
            tuple(_TYPE.findall(match["outputs"])),
            tuple(re.findall(r"\[ONNX Layer: ([^\]]+)\]", match["metadata"])),
        )
        for match in _LAYER.finditer(text)
    ]


def nodes_of(path: Path, *operators: str) -> list[str]:
    """Names of the nodes of a file that are such operators."""
    return [node.name for node in onnx.load(path).graph.node if node.op_type in operators]
