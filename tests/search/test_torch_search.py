"""Search, export and verification with the PyTorch engine on the processor."""

import json
import tempfile

import pytest

from autosinian.cli.main import main
from tests.search.conftest import SPACE, Desk, environment

TORCH = (
    SPACE.replace("engine: openvino", "engine: torch")
    .replace("precision: [fp32, int8]", "precision: [fp32]")
    .replace("high: 16}}", "high: 16}, partial_batch: [pad, ladder]}")
    .replace("search_samples: 100", "search_samples: 100\n  validation_samples: 120")
)


def test_a_search_on_torch_is_exported_and_verified(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.write_space(TORCH)
    monkeypatch.chdir(desk.folder)
    for name, value in (environment(desk.folder) | {"CUDA_VISIBLE_DEVICES": ""}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(desk.folder))
    assert main(["search", "tiny.yaml", "--json", "--trials", "1"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["trials"], summary["measured"]) == (1, 1)
    short = ["--top", "1", "--rounds", "2", "--duration", "0.1"]
    assert main(["export-best", "tiny", *short, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["candidate"]["engine"]["engine"] == "torch"
    # A busy machine may contradict runs of a tenth of a second; everything else must hold.
    main(["verify", "studies/tiny/best", "--rounds", "1", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert all(check["passed"] for check in checks if check["name"] != "performance")
