"""A user's ONNX from the search to a verified bundle: commands, engine and LoadGen are real."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosinian.cli.main import main
from autosinian.content import file_sha256
from autosinian.export.bundle import RESULT, open_bundle, seal
from autosinian.export.verification import failures, verify
from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.storage import load_study
from tests.network.small_onnx import make, write

SPACE = """\
network: {source: tiny.onnx, resize: direct, mean: [0.28, 0.28, 0.28], std: [0.35, 0.35, 0.35]}
data: {name: fashion_mnist}
engine: openvino
objectives: [accuracy, samples_per_second]
constraints: [macs <= reference]
quantization: {precision: [fp32, int8]}
serving: {batch_size: {low: 1, high: 16}}
measurement: {min_duration_s: 0.1, search_samples: 100, calibration_samples: 32,
  validation_samples: 120, time_limit_s: 60}
trials: 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a search of four trials and an export were run; not to be changed."""
    place = tmp_path_factory.mktemp("fixed")
    write(place / "tiny.onnx")
    (place / "tiny.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as there:
        there.chdir(place)
        there.setattr(tempfile, "tempdir", str(place))
        assert main(["search", "tiny.yaml"]) == 0
        quick = ["--top", "1", "--rounds", "2", "--duration", "0.1"]
        assert main(["export-best", "tiny", *quick]) == 0
        yield place


@pytest.fixture
def best(folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that states nothing of speed, which on a busy machine is noise."""
    shutil.copytree(folder / "studies" / "tiny" / "best", tmp_path / "best")
    result = json.loads((tmp_path / "best" / RESULT).read_text())
    for statement in result["stated"]:
        statement["interval"] |= {"low": 0.0, "high": 1e12}
    seal(tmp_path / "best", result)
    return tmp_path / "best"


def searched(folder: Path) -> Outcome:
    return read_outcome(load_study("tiny", f"sqlite:///{folder}/studies/tiny.db"))


def test_only_precision_and_serving_vary(folder: Path) -> None:
    outcome = searched(folder)
    candidates = [record.candidate for record in outcome.records if record.candidate]
    assert len({candidate.key for candidate in candidates}) == len(candidates) == 4
    assert len({candidate.subnet for candidate in candidates}) == 1
    assert {candidate.quantization.precision for candidate in candidates} == {"fp32", "int8"}
    assert [record.state for record in outcome.records] == ["measured"] * 4
    baseline = outcome.baseline_candidate
    assert baseline is not None
    assert (baseline.quantization.precision, baseline.engine.batch_size) == ("fp32", 1)
    assert outcome.reference["macs"] == 8 * 8 * 8 * 27 + 80


def test_the_bundle_holds_the_network_and_no_subnet(folder: Path, best: Path) -> None:
    result = open_bundle(best).result
    assert result["network"] == {
        "name": "tiny.onnx",
        "sha256": file_sha256(folder / "tiny.onnx"),
    }
    assert "supernet" not in result
    assert file_sha256(best / "network.onnx") == result["network"]["sha256"]
    assert not (best / "net.config").exists()
    assert not (best / "init").exists()
    page = (best / "report.html").read_text()
    assert "depth " not in page.partition("<script")[0]
    assert str(folder) not in page


def test_the_bundle_verifies_from_its_own_files_alone(best: Path) -> None:
    found = verify(best, rounds=1, tell=lambda text: None)
    assert failures(found.checks) == []
    (network,) = [check for check in found.checks if check.name == "network"]
    assert "network.onnx gives model.onnx's logits" in network.detail


def test_another_network_in_the_bundle_is_found(best: Path) -> None:
    spoilt = make()
    bias = next(item for item in spoilt.graph.initializer if item.name == "bias")
    bias.raw_data = bytes(len(bias.raw_data))
    (best / "network.onnx").write_bytes(spoilt.SerializeToString(deterministic=True))
    result = json.loads((best / RESULT).read_text())
    seal(best, result)
    (problem,) = failures(verify(best, rounds=1, tell=lambda text: None).checks)
    assert "network.onnx is not the network that was searched" in problem
    result["network"]["sha256"] = file_sha256(best / "network.onnx")
    seal(best, result)
    (problem,) = failures(verify(best, rounds=1, tell=lambda text: None).checks)
    assert "network.onnx gives model.onnx's logits within" in problem


def test_another_file_of_that_name_is_another_space(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    write(tmp_path / "copy" / "tiny.onnx", lambda model: setattr(model, "producer_name", "other"))
    assert main(["search", "tiny.yaml"]) == 2
    assert "`network_sha256` was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("tiny.onnx", "absent.onnx"), "there is no file"),
        (("tiny.onnx", "tiny.yaml"), "must be an ONNX file"),
        (("{name: fashion_mnist}", "{name: imagenet, path: images}"), "has 10 and `imagenet` has"),
        (("network:", "supernet: x.pt\nnetwork:"), "but both is"),
        (("network:", "#"), "but neither is"),
        (("resize: direct", "resise: direct"), "did you mean `resize`"),
        (("trials: 4", "architecture: {depth: [2]}"), "a `network` has one, so remove it"),
    ],
)
def test_bad_input_ends_in_one_line(
    folder: Path,
    tmp_path: Path,
    change: tuple[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(folder / "tiny.onnx", tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "val_map.txt").write_text("a.jpg 0\n")
    (tmp_path / "tiny.yaml").write_text(SPACE.replace(*change))
    monkeypatch.chdir(tmp_path)
    assert main(["search", "tiny.yaml"]) == 2
    error = capsys.readouterr().err
    assert told in error.splitlines()[-1]
    assert "Traceback" not in error
