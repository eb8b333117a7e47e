"""A model of integers from the search to a verified bundle that runs; all of it is real."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autosinian.cli.main import main
from autosinian.export.bundle import RESULT, open_bundle, seal
from autosinian.export.remake import compare_logits
from autosinian.export.verification import failures, verify
from autosinian.int4.autoconfig import FIRST_OWN_ID, Autoconfig, autoconfig_names
from autosinian.int4.model import Model, open_model
from autosinian.search.outcome import read_outcome
from autosinian.search.storage import load_study
from autosinian.space.candidate import Candidate
from tests.int4.small_networks import small_network

NETWORK = small_network(classes=10)
MODEL = Model(NETWORK, Autoconfig(dict.fromkeys(autoconfig_names(NETWORK), FIRST_OWN_ID)))
SPACE = """\
network: {source: tiny, resize: direct}
data: {name: fashion_mnist}
engine: int4
objectives: [accuracy, samples_per_second]
constraints: [macs <= reference]
quantization: {precision: [int4]}
baseline: {precision: int4}
serving: {batch_size: {low: 1, high: 16}}
measurement: {min_duration_s: 0.1, search_samples: 60, validation_samples: 60, time_limit_s: 60}
trials: 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a search of two trials and an export were run; not to be changed."""
    place = tmp_path_factory.mktemp("int4")
    (place / "tiny").mkdir()
    MODEL.write(place / "tiny")
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


def test_batch_sizes_are_searched_and_measured(folder: Path) -> None:
    outcome = read_outcome(load_study("tiny", f"sqlite:///{folder}/studies/tiny.db"))
    assert [record.state for record in outcome.records] == ["measured"] * 2
    batches = {r.candidate.engine.batch_size for r in outcome.records if r.candidate}
    assert len(batches) == 2
    assert {r.candidate.quantization.precision for r in outcome.records if r.candidate} == {"int4"}


def test_the_bundle_holds_model_folder_and_autoconfig(best: Path) -> None:
    opened = open_model(best)
    assert opened.archive == MODEL.archive
    assert (best / "model" / "npdata" / "fc.weight").is_file()
    assert len((best / "autoconfig").read_text().splitlines()) == len(autoconfig_names(NETWORK))
    assert open_bundle(best).result["network"]["sha256"] == MODEL.sha256
    assert not (best / "model.onnx").exists()


def test_the_bundle_verifies_from_its_own_files_alone(best: Path) -> None:
    found = verify(best, rounds=1, tell=lambda text: None)
    assert failures(found.checks) == []
    assert any("byte for byte" in check.detail for check in found.checks)


def test_other_weights_in_the_bundle_are_found(best: Path, tmp_path: Path) -> None:
    blob = best / "model" / "npdata" / "fc.weight"
    blob.write_bytes(bytes(blob.stat().st_size))
    seal(best, json.loads((best / RESULT).read_text()))
    bundle = open_bundle(best)
    candidate = Candidate.from_dict(bundle.result["candidate"])
    agreed, told = compare_logits(bundle, candidate, np.zeros((1, 3, 16, 16)), tmp_path)
    assert (agreed, told) == (False, "model/ and autoconfig do not give model.int4 byte for byte")


def test_the_bundle_runs_through_loadgen(
    best: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--lgts-min_duration_ms", "50", "--lgts-min_query_count", "1"]
    assert main(["run", str(best), *short, "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["accuracy"] == open_bundle(best).result["accuracy"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("engine: int4", "engine: openvino"), "they for it alone"),
        (("baseline: {precision: int4}", ""), "natively on this machine (int4), but is `fp32`"),
        (("precision: [int4]", "precision: [int8]"), "the search space has `int8`"),
        (("source: tiny,", "source: tiny, resolution: 64,"), "resolution is 64"),
        (("source: tiny,", "source: absent,"), "there is no file"),
        (("source: tiny,", "source: absent, autoconfig: x,"), "kernels of a model folder of int"),
        (("source: tiny,", "source: tiny, autoconfig: t4,"), "names one of another engine"),
        (("source: tiny,", "source: tiny, autoconfig: x,"), "x` cannot be read: No such file"),
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
    shutil.copytree(folder / "tiny", tmp_path / "tiny")
    assert MODEL.autoconfig is not None
    (tmp_path / "t4").write_text(Autoconfig(dict.fromkeys(MODEL.autoconfig.ids, 6)).text())
    (tmp_path / "tiny.yaml").write_text(SPACE.replace(*change))
    monkeypatch.chdir(tmp_path)
    assert main(["search", "tiny.yaml"]) == 2
    error = capsys.readouterr().err
    assert told in error.splitlines()[-1]
    assert "Traceback" not in error
