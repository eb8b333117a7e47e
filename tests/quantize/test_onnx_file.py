from pathlib import Path

import onnx
import pytest

from autosinian.errors import InputError
from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.onnx_file import check_onnx
from autosinian.quantize.qdq import quantize
from tests.quantize.networks import images


def test_an_exported_file_is_accepted(plain: Path) -> None:
    check_onnx(plain)


def test_what_is_no_onnx_file_is_refused_in_one_line(plain: Path, tmp_path: Path) -> None:
    graph = onnx.load(plain)
    graph.graph.node[0].input[0] = "nowhere"
    contents = {
        "text": b"hello, I am a text file\n",
        "empty": b"",
        "zeros": bytes(1000),
        "truncated": plain.read_bytes()[: plain.stat().st_size // 2],
        "dangling": graph.SerializeToString(),
        "image": b"\x89PNG\r\n\x1a\n" + bytes(50),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as caught:
            check_onnx(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name in ("missing", "."):
        with pytest.raises(InputError, match="can be read"):
            check_onnx(tmp_path / name)


def test_a_quantized_file_is_not_quantized_again(plain: Path, tmp_path: Path) -> None:
    inputs = images(4, 0, 16)
    quantize(plain, collect_ranges(plain, inputs, "minmax"), tmp_path / "int8.onnx")
    check_onnx(tmp_path / "int8.onnx")
    with pytest.raises(InputError, match="quantized already"):
        collect_ranges(tmp_path / "int8.onnx", inputs, "minmax")
