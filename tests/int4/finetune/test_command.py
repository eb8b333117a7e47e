"""`autosinian int4 finetune` from the shipped images to a model folder, and what it refuses."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from ofa.imagenet_classification.networks import ResNet50D

from autosinian.cli.main import main
from autosinian.data.fashion import FashionMnist
from autosinian.data.preprocessing import Preprocessing
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.finetune.evaluation import float_accuracy
from autosinian.int4.finetune.images import open_images
from autosinian.int4.finetune.record import LOG
from autosinian.int4.finetune.run import CHOSEN, INPUT, SENSITIVITY
from autosinian.int4.finetune.sources import build_resnet, load_float_weights
from autosinian.int4.model_reader import read_model
from autosinian.supernet.net_files import write_net

COMMON = ["int4", "finetune", "--data", "fashion_mnist", "--resolution", "32", "--limit", "16"]
SMALL = ["--depths", "1,1,1,1", "--width-per-group", "4", "--device", "cpu"]
STEPS = ["--epochs", "1", "--batch-size", "8", "--reference-images", "8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of a narrow OFA-ResNet: all in 4 bits, and two layers in 8."""
    place = tmp_path_factory.mktemp("finetune")
    torch.manual_seed(0)
    write_net(place / "net", ResNet50D(n_classes=10, width_mult=0.125, depth_param=-1), 32)
    mixed = ["--int8-layers", "2", "--sensitivity-images", "8", "--within", "100"]
    source = ["--ofa-net", str(place / "net"), "--out", str(place / "run"), "--device", "cpu"]
    assert main([*COMMON, *STEPS, *mixed, *source]) == 0
    return place / "run"


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_holds_float_int4_and_mixed_with_their_device(folder: Path) -> None:
    table = rows(folder, "accuracy.csv")
    assert [row["variant"] for row in table] == [
        "float",
        "int4, as calibrated",
        "int4",
        "2 layers in int8, as calibrated",
        "2 layers in int8",
    ]
    assert all(row["device"] and row["versions"] and row["date"] for row in table)
    assert table[2]["arithmetic"] == "exact integers, 8 images equal on the processor"
    assert int(table[0]["weight_bytes"]) == 8 * int(table[2]["weight_bytes"])
    assert ElementTree.parse(folder / "trade_off.svg").getroot().tag.endswith("svg")


def test_the_reported_accuracy_is_that_of_the_written_integers(folder: Path) -> None:
    rule = Preprocessing.from_rule(json.loads((folder / INPUT).read_text()))
    samples = FashionMnist(None).samples("validation")
    order = np.random.default_rng(0).permutation(len(samples))[:16]
    assert samples.labels is not None
    inputs = np.stack([rule.apply(samples.read(int(i))) for i in order])
    for name, row in (("model", 2), ("model_int8_2", 4)):
        network = read_model(folder / name)
        executor = CpuExecutor(network, threads=1)
        scaled = executor.logits(inputs.astype(np.int8)) / network.out_scale
        executor.close()
        accuracy = float((scaled.argmax(1) == samples.labels[order]).mean())
        told = float(rows(folder, "accuracy.csv")[row]["accuracy_validation"])
        assert accuracy == pytest.approx(told)


def test_the_command_says_how_to_make_the_networks_inputs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--ofa-net", str(folder.parent / "net"), "--device", "cpu"]
    few = ["--epochs", "0.5", "--reference-images", "1", "--out", str(tmp_path / "run")]
    assert main([*COMMON, *STEPS, *source, *few]) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    words = told.partition(": autosinian ")[2].split()
    assert main([*words[:-1], str(tmp_path / "arrays"), "--limit", "4"]) == 0
    inputs = np.load(tmp_path / "arrays" / "validation" / "inputs.npy")
    data = open_images("fashion_mnist", None, 32, torch.device("cpu"), None)
    expected, _ = data.int8_images(data.validation)
    known = {image.tobytes() for image in expected}
    assert len(inputs) == 4 and all(image.tobytes() in known for image in inputs)


def test_the_most_harmed_layers_are_those_kept_in_8_bits(folder: Path) -> None:
    harmed = [row["layer"] for row in rows(folder, SENSITIVITY)]
    kept = {c.name for c in read_model(folder / "model_int8_2").convs() if c.weight_bits == 8}
    assert {name for name in kept if "downsample" not in name} == {"conv1_0_conv", *harmed[:2]}
    assert json.loads((folder / CHOSEN).read_text())["model"] == "model"


def test_a_float_network_is_trained_and_its_weights_are_kept(tmp_path: Path) -> None:
    float_ = ["--float-epochs", "1", "--float-batch-size", "8", "--fixed-ranges"]
    assert main([*COMMON, *SMALL, *STEPS, *float_, "--out", str(tmp_path)]) == 0
    told = rows(tmp_path, "accuracy.csv")[0]
    data = open_images("fashion_mnist", None, 32, torch.device("cpu"), 16)
    module = build_resnet("resnet50", 10, depths=(1, 1, 1, 1), width_per_group=4)
    load_float_weights(module, tmp_path / "float.pt")
    accuracy = float_accuracy(module.eval(), data, data.validation)
    assert float(told["accuracy_validation"]) == accuracy
    stages = [json.loads(line)["stage"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert stages == ["float", "int4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resolution", "40"], "--resolution must be a multiple of 32"),
        (["--depths", "1,x"], "--depths must be whole numbers with commas"),
        (["--depths", "1,1"], "four depths"),
        (["--network", "resnet18"], "a network is one of resnet50"),
        (["--int8-layers", "13"], "must be 1 to 12"),
        (["--int8-layers", "2,2"], "--int8-layers must differ"),
        (["--epochs", "0"], "must be above 0"),
        (["--percentile", "0"], "0 < percentile <= 100"),
        (["--distillation", "2"], "--distillation must be 0 to 1"),
        (["--limit", "0"], "--limit must be at least 1 image"),
        (["--within", "-1"], "--within must be at least 0"),
        (["--weights", "missing.pt"], "must be a file of weights"),
        (["--weights", "a", "--ofa-net", "b"], "must not be given together"),
        (["--data", "mnist"], "a data set is one of"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main([*COMMON, *SMALL, *STEPS, *out, *arguments]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "role batch_norm" not in line]
    assert len(told) == 1 and message in told[0]


def test_a_folder_that_holds_a_model_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMON, *SMALL, "--out", str(folder)]) == 2
    assert "must hold no model yet" in capsys.readouterr().err
