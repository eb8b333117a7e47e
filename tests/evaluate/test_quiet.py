import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autosinian.evaluate.quiet import alone, keep_working, working

HOLDER = """
import sys
from autosinian.evaluate import quiet
devices = [int(word) for word in sys.argv[2:]]
with getattr(quiet, sys.argv[1])(devices):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of this test's own, whatever else runs on the machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@contextmanager
def held(kind: str, *devices: int) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the processor, or GPUs."""
    process = start(kind, *devices)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def start(kind: str, *devices: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, *map(str, devices)],
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


@pytest.mark.parametrize("devices", [(), (0,), (0, 1)])
def test_who_waits_to_measure_goes_before_work_that_begins(devices: tuple[int, ...]) -> None:
    with held("working", *devices) as holder:
        measuring = start("alone", *devices)
        try:
            wait_for_a_wish()
            assert keep_working(devices) is None
            beginning = start("working", *devices)
            try:
                time.sleep(0.7)
                assert (measuring.poll(), beginning.poll()) == (None, None)
                holder.communicate("go\n")
                assert measuring.stdout is not None
                assert measuring.stdout.readline() == "held\n"
                time.sleep(0.3)
                assert beginning.poll() is None
                measuring.communicate("go\n")
                assert beginning.communicate("go\n", timeout=30)[0] == "held\n"
            finally:
                beginning.kill()
        finally:
            measuring.kill()


def test_who_works_already_may_begin_more_while_another_waits_to_measure() -> None:
    with working([0]):
        measuring = start("alone", 0)
        try:
            wait_for_a_wish()
            with working([0]):
                kept = keep_working([0])
            assert kept is not None
            for handle in kept:
                os.close(handle)
            assert measuring.poll() is None
        except BaseException:
            measuring.kill()
            raise
    assert measuring.communicate("go\n", timeout=30)[0] == "held\n"


def wait_for_a_wish() -> None:
    """Until another process waits to be alone, on the first of its devices."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        for path in Path(tempfile.gettempdir()).glob("*.wish.lock"):
            with path.open() as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


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
    target = tmp_path / "target"
    (tmp_path / f"autosinian-{os.getuid()}.lock").symlink_to(target)
    with pytest.raises(OSError, match="lock"), working():
        pass
    assert not target.exists()


def test_measurements_on_different_devices_do_not_wait_for_each_other() -> None:
    with held("alone", 0), held("alone", 1, 2), held("alone"), alone([3]), working([4]):
        pass


@pytest.mark.parametrize(
    ("first", "second"), [("alone", "alone"), ("working", "alone"), ("alone", "working")]
)
def test_a_measurement_on_several_gpus_excludes_others_on_each(first: str, second: str) -> None:
    with held(first, 2, 0) as holder:
        waiting = [start(second, 2), start(second, 0, 1)]
        try:
            time.sleep(0.7)
            assert [process.poll() for process in waiting] == [None, None]
            holder.communicate("go\n")
            for process in waiting:
                out, _ = process.communicate("go\n", timeout=30)
                assert out == "held\n"
        finally:
            for process in waiting:
                process.kill()


def test_gpus_named_in_any_order_cannot_wait_for_each_other_for_ever() -> None:
    processes = [start("alone", *order) for order in ((0, 1), (1, 0)) * 3]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert out == "held\n"


def test_many_may_work_on_one_gpu_at_once() -> None:
    with held("working", 0), working([0, 0]):
        pass
