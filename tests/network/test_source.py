"""Torch modules named by Python's own means, and the input that a space file tells."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosinian.errors import InputError
from autosinian.network.fixed import FixedInput, open_network
from autosinian.network.source import local_source, module_source
from autosinian.space.document import NetworkSpec

CODE = """\
import torch

def make():
    print("loading")
    return torch.nn.Sequential(
        torch.nn.ZeroPad2d((0, 1, 0, 1)), torch.nn.Conv2d(3, 4, 3, stride=2),
        torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 5),
    )

ready = make()
number = 3

def fails():
    raise RuntimeError("no weights")

def gives_text():
    return "network"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A Python file with networks."""
    path = tmp_path / "nets.py"
    path.write_text(CODE)
    return path


def test_a_function_makes_the_same_network_every_time(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = NetworkSpec(source=f"{file}:make", resolution=16)
    first, second = open_network(spec), open_network(spec)
    assert first.sha256 == second.sha256
    kinds = [node.op_type for node in first.prepared.model.graph.node]
    assert kinds == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert (first.name, first.classes) == ("nets.py:make", 5)
    assert "loading" not in capsys.readouterr().out


def test_a_module_itself_and_an_importable_one_are_taken(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    for source in (f"{file}:ready", "nets:ready", "nets:make"):
        assert open_network(NetworkSpec(source=source, resolution=16)).classes == 5


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent", "has no attribute 'absent'"),
        ("number", "but it is a int"),
        ("fails", "made without arguments, but RuntimeError: no weights"),
        ("gives_text", "but it gave a str"),
    ],
)
def test_what_is_no_network_is_told(file: Path, name: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        open_network(NetworkSpec(source=f"{file}:{name}", resolution=16))
    assert told in str(caught.value)


def test_modules_that_are_not_there_are_told(tmp_path: Path, file: Path) -> None:
    with pytest.raises(InputError, match="`no_such_package` must be importable, but ModuleNot"):
        open_network(NetworkSpec(source="no_such_package:make", resolution=16))
    with pytest.raises(InputError, match="there is no file"):
        open_network(NetworkSpec(source=f"{tmp_path}/absent.py:make", resolution=16))
    with pytest.raises(InputError, match="give its `resolution`"):
        open_network(NetworkSpec(source=f"{file}:make"))
    file.write_text("import no_such_package")
    with pytest.raises(InputError, match=r"nets\.py` must be importable"):
        open_network(NetworkSpec(source=f"{file}:make", resolution=16))


def test_only_paths_are_made_absolute() -> None:
    def absolute(text: str) -> str:
        return f"/there/{text}"

    assert local_source("net.onnx", absolute) == "/there/net.onnx"
    assert local_source("net.py:make", absolute) == "/there/net.py:make"
    assert local_source("package.net:make", absolute) == "package.net:make"
    assert module_source("C:/net.onnx") is None


def test_the_input_of_efficientnet_lite_is_told_as_its_authors_do() -> None:
    spec = NetworkSpec(
        source="x",
        mean=[127] * 3,
        std=[128] * 3,
        pixel_range=255,
        resize=256,
        interpolation="bicubic",
    )
    rule = FixedInput.of(spec).at(224)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    expected = (pixels[16:240, 16:240].astype(np.float32) - 127) / 128
    given = rule.apply(Image.fromarray(pixels))
    np.testing.assert_allclose(given, expected.transpose(2, 0, 1), atol=1e-5)
    assert (rule.resize, rule.interpolation) == (256, "bicubic")


def test_the_usual_input_is_imagenets() -> None:
    rule = FixedInput.of(NetworkSpec(source="x")).at(224)
    assert (rule.resize, rule.interpolation) == (256, "bilinear")
    assert rule.mean == (0.485, 0.456, 0.406)
    assert FixedInput.of(NetworkSpec(source="x", resize="direct")).at(224).resize is None
