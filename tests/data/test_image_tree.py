import io
import random
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from autosinian.data.image_tree import LARGEST_MEMBER_BYTES, ImageArchive, ImageFolder
from autosinian.errors import InputError


def pack(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def member(
    name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../../escape/a.jpg"),
        member("/train/cat/a.jpg"),
        member("train/cat/a.jpg", tarfile.SYMTYPE, link="/etc/passwd"),
        member("train/cat/a.jpg", tarfile.LNKTYPE, link="../b.jpg"),
        member("train/cat/a.jpg", tarfile.FIFOTYPE),
    ],
)
def test_members_that_leave_the_archive_are_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    archive = ImageArchive(pack(tmp_path / "bad.tar", bad))
    with pytest.raises(InputError, match="is a link, a device or outside of it"):
        archive.names()
    assert [file.name for file in tmp_path.iterdir()] == ["bad.tar"], "something was unpacked"


def test_a_huge_member_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "big.tar", member("a/b/c.jpg", size=LARGEST_MEMBER_BYTES + 1))
    with pytest.raises(InputError, match=r"`a/b/c\.jpg` has 1048577"):
        ImageArchive(path).names()


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", member("README.md"), member("./a/b/c.PNG"), member("a/b/c.txt"))
    assert ImageArchive(path).names() == ("a/b/c.PNG",)


@pytest.mark.parametrize("keep", [0, 10, 600, 5000])
def test_a_cut_archive_is_told_in_one_line(tmp_path: Path, keep: int) -> None:
    for mode, name in (("w:xz", "a.tar.xz"), ("w:gz", "a.tar.gz")):
        path = tmp_path / name
        with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
            info = member("a/b/c.jpg", size=20_000)
            tar.addfile(info, io.BytesIO(random.Random(0).randbytes(20_000)))
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InputError, match="must be a whole tar archive") as raised:
            ImageArchive(path).names()
        assert "\n" not in str(raised.value)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(folder / "a.jpg")
    (folder / "a.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    with pytest.raises(InputError, match=r"a\.jpg` must be a whole image"):
        ImageFolder(tmp_path).read("train/cat/a.jpg")


def test_a_folders_key_changes_with_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "cat"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"one")
    before = ImageFolder(tmp_path).key
    assert ImageFolder(tmp_path).key == before
    (folder / "a.jpg").write_bytes(b"other")
    assert ImageFolder(tmp_path).key != before
