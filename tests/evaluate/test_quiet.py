import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autosinian.evaluate.quiet import alone, working

HOLDER = """
import sys
from autosinian.evaluate import quiet
with getattr(quiet, sys.argv[1])():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of this test's own, whatever else runs on the machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@contextmanager
def held(kind: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the machine."""
    process = start(kind)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def start(kind: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_many_may_work_at_once() -> None:
    with held("working"), working():
        pass


@pytest.mark.parametrize(("first", "second"), [("working", "alone"), ("alone", "working")])
def test_a_measurement_excludes_work_of_other_processes(first: str, second: str) -> None:
    with held(first) as holder:
        waiting = start(second)
        try:
            time.sleep(0.7)
            assert waiting.poll() is None
            assert waiting.stdout is not None and waiting.stdin is not None
            assert holder.stdin is not None
            holder.stdin.write("go\n")
            holder.stdin.flush()
            assert waiting.stdout.readline() == "held\n"
        finally:
            waiting.kill()
            waiting.communicate()


def test_two_measurements_exclude_each_other() -> None:
    order: list[str] = []
    with held("alone") as holder:
        assert holder.stdin is not None
        waiting = start("alone")
        order.append("first")
        holder.communicate("go\n")
        out, _ = waiting.communicate("go\n", timeout=30)
        assert out == "held\n"


def test_a_killed_process_holds_nothing() -> None:
    with held("alone") as holder:
        holder.kill()
        holder.wait()
        with alone():
            pass


def test_the_lock_is_let_go_after_an_error() -> None:
    with pytest.raises(RuntimeError), alone():
        raise RuntimeError
    with alone():
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    import os

    target = tmp_path / "target"
    (tmp_path / f"autosinian-{os.getuid()}.lock").symlink_to(target)
    with pytest.raises(OSError, match="lock"), working():
        pass
    assert not target.exists()
