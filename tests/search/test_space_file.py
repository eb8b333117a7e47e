"""Paths of a search space file."""

from pathlib import Path

import pytest

from autosinian.search.space_file import read_space
from tests.search.conftest import SPACE


@pytest.mark.parametrize("named", ["data: {name: cifar10, path: mine}", "data: {name: cifar10}"])
def test_the_data_set_may_lie_elsewhere_than_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "spaces").mkdir()
    file = tmp_path / "spaces" / "tiny.yaml"
    file.write_text(SPACE.replace("data: {name: fashion_mnist}", named))
    monkeypatch.chdir(tmp_path)
    in_file = str(tmp_path / "spaces" / "mine") if "mine" in named else None
    assert read_space(file).data.path == in_file
    assert read_space(file, Path("theirs.tar")).data.path == str(tmp_path / "theirs.tar")
    assert read_space(file, Path("/elsewhere")).data.path == "/elsewhere"
