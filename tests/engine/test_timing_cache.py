import multiprocessing
from pathlib import Path

import pytest

from autosinian.engine.timing_cache import (
    read_timing_cache,
    timing_cache_path,
    update_timing_cache,
)


def test_the_file_is_named_after_gpu_and_library(tmp_path: Path) -> None:
    path = timing_cache_path(tmp_path, "NVIDIA H100 80GB HBM3", "tensorrt-8.6.1")
    assert path == tmp_path / "timing-NVIDIA-H100-80GB-HBM3-tensorrt-8.6.1.cache"
    assert timing_cache_path(tmp_path, "../x/y", "z").parent == tmp_path


def test_a_file_that_is_not_there_is_empty_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_timing_cache(tmp_path / "none.cache") == b""
    assert capsys.readouterr().err == ""


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.cache"
    update_timing_cache(path, lambda there: there + b"one")
    update_timing_cache(path, lambda there: there + b"two")
    assert read_timing_cache(path) == b"onetwo"


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c[:20], lambda c: b"x" + c])
def test_a_broken_file_is_ignored_with_a_line_and_replaced(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: "object",
) -> None:
    path = tmp_path / "a.cache"
    update_timing_cache(path, lambda _: b"content")
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))
    assert read_timing_cache(path) == b""
    assert f"timing cache {path} is not used" in capsys.readouterr().err
    update_timing_cache(path, lambda there: there + b"new")
    assert read_timing_cache(path) == b"new"


def test_a_folder_that_cannot_be_written_costs_a_line_and_no_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    update_timing_cache(tmp_path / "file" / "a.cache", lambda _: b"content")
    assert "cannot be written" in capsys.readouterr().err


def test_builders_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.cache"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(read_timing_cache(path)) == sorted(bytes(range(4)) * 10)


def _add(path: Path, number: int) -> None:
    for _ in range(10):
        update_timing_cache(path, lambda there: there + bytes([number]))
