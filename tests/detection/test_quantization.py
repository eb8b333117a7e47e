import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper
from PIL import Image
from torch import nn

from autosinian.cli.main import main
from autosinian.detection.checkpoint import Detector, save_detector
from autosinian.detection.inputs import input_batches
from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.detection.opened import open_detector
from autosinian.detection.quantized_files import load_folded, open_simulated
from autosinian.detection.source import open_annotated
from autosinian.errors import InputError
from tests.equalize.networks import settle

CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny detector, and three photographs with COCO annotations."""
    path: Path = tmp_path_factory.mktemp("detector")
    network = SsdResNet34(SsdConfig(classes=3, width=0.0625, image_size=300))
    settle(network)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
                part.reset_running_stats()
        network.train()
        network(torch.randn(2, 3, 300, 300, generator=torch.Generator().manual_seed(0)))
    save_detector(path / "detector.pt", Detector(network.eval(), CLASSES))
    generator = np.random.default_rng(0)
    (path / "images").mkdir()
    images, annotations = [], []
    for identity in range(3):
        pixels = generator.integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(path / "images" / f"{identity}.png")
        images.append({"id": identity, "file_name": f"{identity}.png", "width": 80, "height": 60})
        annotations.append(
            {
                "id": identity,
                "image_id": identity,
                "category_id": 1 + identity % 2,
                "bbox": [5, 5, 40, 30],
                "area": 1200,
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1 + index, "name": name} for index, name in enumerate(CLASSES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (path / "annotations.json").write_text(json.dumps(document))
    return path


def _noise(given: torch.Tensor, expected: torch.Tensor) -> float:
    """Power of the difference over that of the signal."""
    return float((given - expected).square().sum() / (expected - expected.mean()).square().sum())


def _quantize(folder: Path, out: Path, *options: str) -> Path:
    data = [str(folder / name) for name in ("detector.pt", "annotations.json", "images")]
    arguments = ["ssd", "quantize", *data, "--device", "cpu", "--out", str(out), *options]
    assert main(arguments) == 0
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of the tiny detector, with a list of exceptions."""
    exceptions = {"asymmetric_weights": ["loc.1"], "higher_precision": ["conf.0"]}
    (folder / "exceptions.json").write_text(json.dumps(exceptions))
    out = tmp_path_factory.mktemp("made") / "output"
    return _quantize(folder, out, "--exceptions", str(folder / "exceptions.json"))


def test_the_command_writes_every_file_in_a_folder_of_its_own(made: Path) -> None:
    assert {file.name for file in made.iterdir()} == {
        "ssd_resnet34.onnx",
        "ssd_resnet34.pth",
        "ssd_resnet34.encodings",
        "ssd_resnet34.encodings.yaml",
        "ssd_resnet34_openvino.onnx",
        "ssd_resnet34_tensorrt.onnx",
        "ssd_resnet34_params.json",
    }
    content = json.loads((made / "ssd_resnet34.encodings").read_text())
    assert content == yaml.safe_load((made / "ssd_resnet34.encodings.yaml").read_text())
    graph = onnx.load(made / "ssd_resnet34.onnx").graph
    names = {name for node in graph.node for name in node.output} | {graph.input[0].name}
    assert set(content["activation_encodings"]) <= names
    assert set(content["param_encodings"]) <= {item.name for item in graph.initializer}
    assert content["param_encodings"]["loc.1.weight"][0]["is_symmetric"] == "False"
    assert content["param_encodings"]["conf.0.weight"][0]["bitwidth"] == 32
    operators = {node.op_type for node in graph.node}
    assert "Softmax" in operators and "NonMaxSuppression" not in operators


def test_where_asymmetric_weights_are_lost_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = tmp_path / "exceptions.json"
    lists.write_text(json.dumps({"asymmetric_weights": ["conf.0"]}))
    out = _quantize(folder, tmp_path / "out", "--exceptions", str(lists))
    told = capsys.readouterr().err
    assert "asymmetric weights (conf.0): OpenVINO computes such layers in float" in told
    assert "ssd_resnet34_tensorrt.onnx, which takes no zero points, they are symmetric" in told
    points = {
        engine: numpy_helper.to_array(item).any()
        for engine in ("openvino", "tensorrt")
        for item in onnx.load(out / f"ssd_resnet34_{engine}.onnx").graph.initializer
        if item.name == "conf.0.weight_zero_point"
    }
    assert points == {"openvino": True, "tensorrt": False}


def test_show_params_tells_what_was_done(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(made / "ssd_resnet34_params.json")
    assert main(["ssd", "show-params", file]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "equalization.pairs_scaled: 18" in lines
    assert "equalization.batch_norms_folded: 29" in lines
    assert "calibration.images: 3" in lines
    assert "exceptions.higher_precision: conf.0" in lines
    assert main(["ssd", "show-params", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["method"] == "minmax"
    assert main(["ssd", "show-params", str(made / "ssd_resnet34.encodings")]) == 2


def test_the_files_compute_what_the_detector_does(folder: Path, made: Path) -> None:
    photographs = open_annotated(folder / "annotations.json", folder / "images")
    images = torch.from_numpy(next(input_batches(photographs, 300, 2)))
    original = open_detector(folder / "detector.pt", "cpu")
    with torch.no_grad():
        expected = original.forward(images)[0]
        folded = load_folded(made / "ssd_resnet34.pth")[0](images)[0]
        fp32 = open_detector(made / "ssd_resnet34.onnx", "cpu").forward(images)[0]
        simulated = open_detector(made / "ssd_resnet34.pth", "cpu")
        first, again = simulated.forward(images)[0], simulated.forward(images)[0]
    scale = float(expected.abs().max())
    assert float((folded - expected).abs().max()) < 1e-5 * scale
    assert float((fp32 - expected).abs().max()) < 1e-4 * scale
    assert torch.equal(first, again)
    # Random weights this deep magnify every rounding, so only most of the signal is the same.
    assert 1e-4 < _noise(first, expected) < 0.2
    assert simulated.class_names == CLASSES
    for engine in ("openvino", "tensorrt"):
        opened = open_detector(made / f"ssd_resnet34_{engine}.onnx", "cpu")
        assert _noise(opened.forward(images)[0], expected) < 0.2


def test_exceptions_are_chosen_on_other_images(folder: Path, tmp_path: Path) -> None:
    made = _quantize(
        folder,
        tmp_path / "output",
        *("--no-equalize", "--method", "percentile", "--prefix", "small"),
        *(
            "--target",
            "0.01",
            "--choose-on",
            str(folder / "annotations.json"),
            str(folder / "images"),
        ),
    )
    parameters = json.loads((made / "small_params.json").read_text())
    assert parameters["equalization"]["pairs_scaled"] == 0
    assert parameters["calibration"]["percentile"] == 99.999
    chosen = parameters["chosen_on"]
    assert chosen["tried"][0]["map"] >= 0
    assert chosen["reached"] == (chosen["int8_map"] >= 0.01 * chosen["fp32_map"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--exceptions", "wrong.json"), "no `loc.9`"),
        (("--method", "mse"), "`mse`"),
        (("--count", "0"), "--count"),
        (("--target", "1.5"), "--target"),
        (("--prefix", "../x"), "--prefix"),
        (("--per-channel", "--config", "c.json"), "--per-channel"),
        (("--config", "missing.json"), "missing.json"),
    ],
)
def test_bad_input_is_told_in_one_line_and_writes_nothing(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.json").write_text('{"asymmetric_weights": ["loc.9"]}')
    data = [str(folder / name) for name in ("detector.pt", "annotations.json", "images")]
    assert main(["ssd", "quantize", *data, "--device", "cpu", *options]) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not Path("output").exists()


def test_an_annotation_of_a_missing_image_and_an_empty_set_are_bad_input(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    model = str(folder / "detector.pt")
    for change, told in (("missing", "9.png"), ("outside", "box"), ("empty", "image")):
        changed = json.loads(json.dumps(document))
        if change == "missing":
            changed["images"][0]["file_name"] = "9.png"
        elif change == "outside":
            changed["annotations"][0]["bbox"] = [50, 5, 70, 30]
        else:
            changed |= {"images": [], "annotations": []}
        file = tmp_path / f"{change}.json"
        file.write_text(json.dumps(changed))
        out = tmp_path / "output"
        arguments = ["ssd", "quantize", model, str(file), str(folder / "images")]
        assert main([*arguments, "--device", "cpu", "--out", str(out)]) == 2
        assert told in capsys.readouterr().err
        assert not out.exists()


def test_files_that_do_not_belong_together_are_bad_input(made: Path, tmp_path: Path) -> None:
    encodings = json.loads((made / "ssd_resnet34.encodings").read_text())
    encodings["param_encodings"]["loc.6.weight"] = encodings["param_encodings"]["loc.5.weight"]
    (tmp_path / "a.encodings").write_text(json.dumps(encodings))
    (tmp_path / "a.pth").write_bytes((made / "ssd_resnet34.pth").read_bytes())
    with pytest.raises(InputError, match=r"`loc\.6\.weight`"):
        open_simulated(tmp_path / "a.pth")
    buffer = io.BytesIO()
    torch.save({"format": "other"}, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="ssd quantize"):
        load_folded(tmp_path / "a.pth")
