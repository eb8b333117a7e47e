"""Model folders: read, written byte for byte, and refused with the layer's name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.int4.model_reader import read_model
from autosinian.int4.model_writer import write_model
from autosinian.int4.network import Downsample
from tests.int4.small_networks import VARIANTS, small_network


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_is_read_as_it_was_written(variant: str, line_end: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {**VARIANTS[variant], "line_end": line_end}
    network = small_network(**options)
    write_model(network, tmp_path / "one")
    read = read_model(tmp_path / "one")
    write_model(read, tmp_path / "two")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert [c.name for c in read.convs()] == [c.name for c in network.convs()]
    for mine, theirs in zip(read.convs(), network.convs(), strict=True):
        np.testing.assert_array_equal(mine.weight, theirs.weight)
        np.testing.assert_array_equal(mine.bias, theirs.bias)
        assert (mine.input_type, mine.weight_bits) == (theirs.input_type, theirs.weight_bits)
    for one, other in zip(read.quantizes(), network.quantizes(), strict=True):
        assert (one.name, one.shift, one.output_type) == (
            other.name,
            other.shift,
            other.output_type,
        )
        np.testing.assert_array_equal(one.factor, other.factor)
    text = (tmp_path / "one" / "conv1").read_bytes()
    assert text.count(line_end.encode()) == text.count(b"\n") > 1


@pytest.mark.shared_data
def test_the_published_model_comes_back_byte_for_byte(published: Path, tmp_path: Path) -> None:
    network = read_model(published / "model")
    assert network.input_shape == (3, 224, 224)
    assert network.classes == 1000
    assert [len(layer) for layer in network.layers] == [3, 4, 6, 3]
    assert sum(1 for _ in network.convs()) == 53
    assert sum(isinstance(block.residual, Downsample) for block in network.blocks()) == 4
    write_model(network, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(published / "model")


def test_a_folder_that_exists_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must not exist yet"):
        write_model(small_network(), tmp_path)


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def cut(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])

    return change


def grown(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as stream:
            stream.write(b"\0")

    return change


def linked(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        shutil.move(folder / name, folder.parent / "outside")
        (folder / name).symlink_to(folder.parent / "outside")

    return change


CONV, BLOB = "layer1_0_conv1", "npdata/layer1_0_conv1.weight"
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no such folder": (shutil.rmtree, "must hold the file `model` and the folder `npdata`"),
    "truncated blob": (
        cut(BLOB),
        f"INT4 blob {BLOB} must have 32 bytes (s4, 8 x 8 x 1 x 1), got 31",
    ),
    "longer blob": (grown(BLOB), "must have 32 bytes (s4, 8 x 8 x 1 x 1), got 33"),
    "missing blob": (lambda folder: (folder / BLOB).unlink(), f"must hold the file {BLOB}"),
    "missing layer": (lambda folder: (folder / CONV).unlink(), f"must hold the file {CONV}"),
    "another file": (lambda folder: (folder / "notes").touch(), "has notes, which belongs to no"),
    "a folder more": (
        lambda folder: (folder / "sub").mkdir(),
        "has sub, which belongs to no layer",
    ),
    "a link": (linked(BLOB), "as a plain file, but it is none"),
    "wrong dtype": (
        replaced(CONV, "weight=s4,4:8 8 1 1", "weight=s8,4:8 8 1 1"),
        "layer1_0_conv1: weight must be of dtype s4 there, got s8",
    ),
    "dims that do not match": (
        replaced(CONV, "weight=s4,4:8 8 1 1", "weight=s4,4:8 4 1 1"),
        "weight must be 8 x 8 x 1 x 1 by the layer's other keys, got 8 x 4 x 1 x 1",
    ),
    "channels that do not follow": (
        replaced("layer1_1_conv1", "in_channels=16", "in_channels=8"),
        "layer1_1_conv1: weight must be 8 x 8 x 1 x 1",
    ),
    "a type that does not follow": (
        replaced(CONV, "u4s4s32", "u7s4s32"),
        "layer1_0_conv1 must read u4, what is before it, got u7",
    ),
    "unknown key": (
        replaced(CONV, "groups=1\n", "groups=1\nspeed=9\n"),
        "has the unknown key speed; known are compute_mode, in_channels",
    ),
    "missing key": (replaced(CONV, "groups=1\n", ""), "must have the keys compute_mode"),
    "groups": (replaced(CONV, "groups=1", "groups=2"), "groups must be 1, got '2'"),
    "dilation": (replaced(CONV, "dilation=2:1 1", "dilation=2:2 2"), "dilation must be 2:1 1"),
    "unknown type": (replaced(CONV, "Conv2d", "Conv3d"), "must be of type Conv2d, got Conv3d"),
    "mode": (replaced(CONV, "u4s4s32", "u4s5s32"), "compute_mode must be one of u4, u7, s8"),
    "residual": (
        replaced("layer1_0", "downsample_layer=True", "downsample_layer=False"),
        "downsample_layer must be True",
    ),
    "stride of the block": (
        replaced("layer2_0", "stride=2", "stride=1"),
        "layer2_0 must have the stride of layer2_0_conv2, 2, got 1",
    ),
    "max_requant": (
        replaced("layer1_0_quantize1", "max_requant=", "max_requant=1"),
        "layer1_0_quantize1: max_requant must be",
    ),
    "no children": (
        replaced("layer1", "children_count=2", "children_count=0"),
        "layer1 must have 1 to 1000 children, got 0",
    ),
    "fewer children": (
        replaced("layer1", "children_count=2", "children_count=1"),
        "which belongs to no layer",
    ),
    "mixed line ends": (
        lambda folder: (folder / CONV).write_bytes(
            (folder / CONV).read_bytes().replace(b"\n", b"\r\n")
        ),
        "must end its lines as the file `model` does",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, told = WRONG[name]
    write_model(small_network(), tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(InputError) as caught:
        read_model(tmp_path / "model")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
