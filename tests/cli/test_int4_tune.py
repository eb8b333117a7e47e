"""`autosinian int4 tune` refuses what it cannot do in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autosinian.cli.main import main
from autosinian.int4.model_writer import write_model
from tests.int4.small_networks import small_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(small_network(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("option", [["-b", "0"], ["-b", "8", "--time", "0"]])
def test_impossible_numbers_are_told(
    option: list[str], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["int4", "tune", str(model), *option]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_way_out_is_told(model: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "autosinian", "int4", "tune", str(model), "-b", "8"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--device cpu" in done.stderr
