"""Bundles as files: sealed, compared, written whole or not at all."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.export.bundle import (
    RESULT,
    SUMS,
    check_target,
    differences,
    open_bundle,
    seal,
    writing,
)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(folder: Path, text: str = "weights") -> Path:
    with writing(folder, force=folder.exists()) as temporary:
        (temporary / "init").write_text(text)
        (temporary / "logs").mkdir()
        (temporary / "logs" / "detail.txt").write_text("LoadGen")
        seal(temporary, {"accuracy": 0.9})
    return folder


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change result.json behind the back of SHA256SUMS."""
    result = json.loads((folder / RESULT).read_text())
    change(result)
    (folder / RESULT).write_text(json.dumps(result))


def test_a_sealed_bundle_is_as_it_was(tmp_path: Path) -> None:
    folder = make(tmp_path / "best")
    bundle = open_bundle(folder)
    assert differences(bundle) == []
    assert bundle.result["accuracy"] == 0.9
    assert set(bundle.result["hashes"]) == {"init", "logs/detail.txt"}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_checks_a_bundle_too(tmp_path: Path) -> None:
    folder = make(tmp_path / "best")
    command = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda f: (f / "init").write_text("other"), "`init` has changed"),
        (lambda f: (f / "logs/detail.txt").unlink(), "`logs/detail.txt` is missing"),
        (lambda f: (f / "logs/new.txt").write_text(""), "`logs/new.txt` is not of the bundle"),
        (lambda f: (f / "link").symlink_to("init"), "`link` is not of the bundle"),
        (lambda f: (f / SUMS).unlink(), f"`{SUMS}` is missing"),
        (lambda f: (f / SUMS).write_text("nonsense"), f"`{SUMS}` is missing or damaged"),
        (
            lambda f: forge(f, lambda r: r.update(accuracy=0.99)),
            f"`{RESULT}` has changed",
        ),
        (
            lambda f: forge(f, lambda r: r["hashes"].update(init="0" * 64)),
            "`init` has one hash in result.json and another in SHA256SUMS",
        ),
    ],
)
def test_what_differs_is_named(
    tmp_path: Path, harm: Callable[[Path], object], expected: str
) -> None:
    folder = make(tmp_path / "best")
    harm(folder)
    assert any(line.startswith(expected) for line in differences(open_bundle(folder)))


@pytest.mark.parametrize("name", ["../secret", "logs/../../secret", "{absolute}"])
def test_a_listed_file_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "best")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    name = name.format(absolute=secret)
    forge(folder, lambda r: r["hashes"].update({name: "0" * 64}))
    assert f"`{name}` lies outside the folder" in differences(open_bundle(folder))


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "best")
    copy = tmp_path / "copy"
    shutil.copyfile(folder / "init", copy)
    (folder / "init").unlink()
    (folder / "init").symlink_to(copy)
    assert "`init` lies outside the folder" in differences(open_bundle(folder))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=64), data=st.data())
def test_any_flipped_bit_is_found(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    folder = tmp_path / "best"
    with writing(folder, force=True) as temporary:
        (temporary / "init").write_bytes(content)
        seal(temporary, {})
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    (folder / "init").write_bytes(changed)
    assert differences(open_bundle(folder)) == ["`init` has changed since it was exported"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "has format 'list'"),
        ('{"format": "another"}', "has format 'another'"),
        ('{"format": "autosinian bundle 1"}', "lists no hashes"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / RESULT).write_text(content)
    with pytest.raises(InputError, match=reason) as refused:
        open_bundle(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        open_bundle(tmp_path / "absent")


def test_an_existing_bundle_is_replaced_only_by_force(tmp_path: Path) -> None:
    folder = make(tmp_path / "best", "old")
    with pytest.raises(InputError, match="`--force`"):
        check_target(folder, force=False)
    make(folder, "new")
    assert (folder / "init").read_text() == "new"
    assert differences(open_bundle(folder)) == []
    assert contents(tmp_path) == ["best"]


def test_force_never_replaces_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    with pytest.raises(InputError, match="replaces a bundle only"):
        check_target(tmp_path / "photos", force=True)
    bundle = make(tmp_path / "best")
    (tmp_path / "link").symlink_to(bundle)
    with pytest.raises(InputError, match="replaces a bundle only"):
        check_target(tmp_path / "link", force=True)


def test_a_failed_export_leaves_the_old_bundle_and_nothing_else(tmp_path: Path) -> None:
    folder = make(tmp_path / "best", "old")
    with pytest.raises(KeyboardInterrupt), writing(folder, force=True) as temporary:
        (temporary / "init").write_text("half")
        raise KeyboardInterrupt
    assert (folder / "init").read_text() == "old"
    assert contents(tmp_path) == ["best"]


def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    with pytest.raises(InputError, match="must not exist yet"), writing(folder, force=False):
        make(folder, "another process")
    assert (folder / "init").read_text() == "another process"
    assert contents(tmp_path) == ["best"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No process may write a file beyond `size` bytes meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    with (
        largest_file(1 << 16),
        pytest.raises(InputError, match="free space or choose another place") as refused,
        writing(folder, force=False) as temporary,
    ):
        (temporary / "init").write_bytes(bytes(1 << 20))
    assert "\n" not in str(refused.value)
    assert contents(tmp_path) == []


def test_a_full_disk_leaves_the_old_bundle(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        folder = make(disk / "best", "old")
        with (
            pytest.raises(InputError, match="No space left on device"),
            writing(folder, force=True) as temporary,
        ):
            (temporary / "init").write_bytes(bytes(1 << 20))
        assert (folder / "init").read_text() == "old"
        assert contents(disk) == ["best"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
