"""`autosinian int4 run` with the published options: worker and LoadGen are real."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from autosinian.cli.main import main
from autosinian.int4.autoconfig import Autoconfig, autoconfig_names
from autosinian.int4.model import Model
from autosinian.int4.predict import scaled
from tests.int4.gpu import oracle
from tests.int4.small_networks import random_images, small_network

NETWORK = small_network()
SHORT = ["--lgts_min_duration_ms", "50", "--lgts_min_query_count=1", "--lgls_enable_trace", "0"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Model(NETWORK).write(tmp_path)
    images = random_images(NETWORK, 20)
    labels = scaled(NETWORK, oracle.logits(NETWORK, images).astype(np.int32)).argmax(1)
    labels[:5] = (labels[:5] + 1) % 10
    (tmp_path / "tensors").mkdir()
    for number, image in enumerate(images):
        np.save(tmp_path / "tensors" / f"{number}.npy", image)
    lines = [f"{number}.JPEG {label}\n" for number, label in enumerate(labels)]
    (tmp_path / "val_map.txt").write_text("".join(lines))
    names = autoconfig_names(NETWORK)
    (tmp_path / "own").write_text(Autoconfig(dict.fromkeys(names, 1000)).text())
    (tmp_path / "foreign").write_text(Autoconfig(dict.fromkeys(names, 27)).text())
    (tmp_path / "user.conf").write_text("resnet50.Offline.min_duration = 50\n")
    monkeypatch.chdir(tmp_path)
    # The lock that lets one run measure at a time lies there: no other process shall wait.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_submission_run_counts_the_exact_accuracy(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = ["-b", "7", "--autotuningFile", "own", "--tensorPath", "tensors"]
    published += ["--mapPath", "val_map.txt", "--test-mode", "SubmissionRun"]
    assert main(["int4", "run", *published, *SHORT, "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["good"], report["total"]) == (15, 20)
    assert report["valid"]
    assert report["engine"]["batch_size"] == 7
    assert report["precision"] == "int4"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-a", "foreign"], "names one of another engine (published files have 0 to 40)"),
        (["-a", "absent"], "autoconfig `absent` cannot be read"),
        (["-b", "0"], "`-b` must be at least 1"),
        (["-p", "absent"], "must be a .npy file of int8 images"),
        (["-m", "absent"], "map `absent` does not exist"),
        (["--user_conf_path", "absent"], "`absent` must be a file"),
        (["--lgts_min_duration_ms", "soon"], "must be a whole number, but got `soon`"),
        (["--option", "streams=0"], "streams must be an integer from 1"),
    ],
)
def test_bad_input_ends_in_one_line(
    place: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ["-p", "tensors", "-m", "val_map.txt"]
    assert main(["int4", "run", *whole, *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error.splitlines()[-1]
    assert "Traceback" not in error
