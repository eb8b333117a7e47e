"""A real bundle verified, and each way in which one can be contradicted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autosinian.errors import AutosinianError, InputError
from autosinian.export.bundle import RESULT, Bundle, open_bundle, seal
from autosinian.export.remake import compare_logits
from autosinian.export.verification import Verification, failures, verify
from autosinian.space.candidate import Candidate


def verified(folder: Path, *, rebuild: bool = False) -> Verification:
    return verify(folder, rounds=1, rebuild=rebuild, tell=lambda text: None)


def forged(bundle: Bundle, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy whose result says something else, sealed again as a forger would."""
    shutil.copytree(bundle.folder, folder)
    result = json.loads((folder / RESULT).read_text())
    change(result)
    seal(folder, result)
    return folder


def loosen(result: dict[str, Any]) -> None:
    """State so little that no busy machine contradicts it."""
    for statement in result["stated"]:
        statement["interval"] |= {"low": 0.0, "high": 1e12}


def test_a_bundle_holds_from_its_own_files_alone(bundle: Bundle, tmp_path: Path) -> None:
    # Elsewhere, so that nothing beside the bundle can help.
    found = verified(forged(bundle, tmp_path / "moved", loosen))
    assert failures(found.checks) == []
    assert [check.name for check in found.checks] == [
        "files",
        "network",
        "accuracy",
        "performance",
        "performance",
    ]
    assert found.figures["accuracy"] == bundle.result["accuracy"]
    assert found.figures["Offline.samples_per_second"] > 0
    assert json.loads(json.dumps(found.to_dict()))["passed"] is True


def test_a_changed_file_is_named_and_nothing_is_run(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(bundle.folder, folder)
    with (folder / "model.engine").open("ab") as stream:
        stream.write(b"x")
    said: list[str] = []
    found = verify(folder, tell=said.append)
    assert failures(found.checks) == ["files: `model.engine` has changed since it was exported"]
    assert not found.passed
    assert said == ["checking the files"]


def test_other_accuracy_and_lower_speed_are_told_with_the_difference(
    bundle: Bundle, tmp_path: Path
) -> None:
    stated = bundle.result["accuracy"] + 0.5

    def change(result: dict[str, Any]) -> None:
        result["accuracy"] = stated
        loosen(result)
        for statement in result["stated"]:
            if statement["metric"].startswith("Offline"):
                statement["interval"] |= {"low": 1e9, "high": 1e10}

    said: list[str] = []
    folder = forged(bundle, tmp_path / "forged", change)
    found = verify(folder, rounds=1, tell=said.append)
    accuracy, performance = failures(found.checks)
    assert f"{bundle.result['accuracy']:.6f} on 120 samples, stated {stated:.6f}" in accuracy
    assert "stated 1e+09 to 1e+10 (the better of two attempts)" in performance
    assert sum("again because it was slower" in line for line in said) == 1


def test_an_engine_of_other_versions_needs_to_be_built_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    def change(result: dict[str, Any]) -> None:
        loosen(result)
        result["engine_versions"]["openvino"] = "2019.1"

    folder = forged(bundle, tmp_path / "older", change)
    with pytest.raises(AutosinianError, match=r"openvino was '2019\.1' and is .*`--rebuild`"):
        verified(folder)
    assert verified(folder, rebuild=True).passed


def test_figures_of_another_device_are_not_compared(bundle: Bundle, tmp_path: Path) -> None:
    def change(result: dict[str, Any]) -> None:
        result["device"] = "another processor"
        for statement in result["stated"]:
            statement["interval"] |= {"low": 1e9, "high": 1e10}

    found = verified(forged(bundle, tmp_path / "elsewhere", change))
    assert found.passed
    assert "not compared: stated on another processor" in found.checks[-1].detail


def test_other_data_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = forged(bundle, tmp_path / "other", lambda r: r["data"].update(labels_sha256="0" * 64))
    with pytest.raises(InputError, match="120 validation samples of `fashion_mnist` must be those"):
        verified(folder)


def test_a_missing_key_is_named(bundle: Bundle, tmp_path: Path) -> None:
    folder = forged(bundle, tmp_path / "short", lambda r: r.pop("jobs"))
    with pytest.raises(InputError, match=r"result.json` must have the key 'jobs'"):
        verified(folder)


def test_zero_rounds_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="`--rounds`"):
        verify(bundle.folder, rounds=0, tell=lambda text: None)


def test_weights_of_another_network_are_found(bundle: Bundle, tmp_path: Path) -> None:
    import numpy as np
    import torch

    folder = tmp_path / "weights"
    shutil.copytree(bundle.folder, folder)
    state = torch.load(folder / "init", weights_only=True)["state_dict"]
    name = next(key for key in state if key.startswith("classifier"))
    state[name] = state[name] + 1.0
    torch.save({"state_dict": state}, folder / "init")
    candidate = Candidate.from_dict(bundle.result["candidate"])
    inputs = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    (tmp_path / "scratch").mkdir()
    agreed, detail = compare_logits(open_bundle(folder), candidate, inputs, tmp_path / "scratch")
    assert not agreed
    assert "on 4 samples" in detail
