import io
import os
import tarfile
from pathlib import Path

import pytest

from autosinian.cli.main import main
from autosinian.errors import AutosinianError, InputError
from autosinian.native.compile import compile_sut
from autosinian.native.loadgen import find_module, module_path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def archive(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "sources.tar.gz"
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
    return path


def test_nothing_is_found_before_it_is_compiled() -> None:
    assert find_module() is None


def test_a_missing_compiler_is_named() -> None:
    with pytest.raises(InputError, match="a C\\+\\+ compiler must be installed, but `no-such-c"):
        compile_sut(compiler="no-such-compiler")


def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sources.tar.gz"
    path.write_text("no archive")
    with pytest.raises(InputError, match=r"must be a readable \.tar\.gz"):
        compile_sut(source=path)


def test_sources_of_another_version_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"loadgen-0.1/loadgen.cc": "", "loadgen-0.1/VERSION.txt": "0.1\n"})
    with pytest.raises(InputError, match=r"must be of the installed version .*has 0\.1"):
        compile_sut(source=path)
    assert find_module() is None


def test_an_archive_cannot_write_outside(tmp_path: Path) -> None:
    path = archive(tmp_path, {"../outside": "written"})
    with pytest.raises(AutosinianError):
        compile_sut(source=path)
    assert not (tmp_path / "outside").exists()


def test_the_compiled_module_is_found_and_removed(
    compiled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = module_path()
    target.parent.mkdir(parents=True)
    os.link(compiled, target)
    assert find_module() == target
    assert main(["compile-sut", "--remove"]) == 0
    assert capsys.readouterr().out == f"removed {target}\n"
    assert find_module() is None
    assert main(["compile-sut", "--remove"]) == 0
    assert capsys.readouterr().out == "nothing was compiled\n"
