"""A model with its autoconfig, in folders and in one file."""

import io
import zipfile
from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.int4.autoconfig import Autoconfig, autoconfig_names
from autosinian.int4.model import Model, is_model, open_model, read_archive
from tests.int4.small_networks import small_network

NETWORK = small_network(line_end="\r\n")
IDS = Autoconfig(dict.fromkeys(autoconfig_names(NETWORK), 1007))


def test_folder_and_archive_hold_the_same(tmp_path: Path) -> None:
    model = Model(NETWORK, IDS)
    model.write(tmp_path)
    (tmp_path / "model.int4").write_bytes(model.archive)
    for path in (tmp_path, tmp_path / "model.int4"):
        opened = open_model(path)
        assert opened.archive == model.archive
        assert opened.sha256 == model.sha256
        assert opened.autoconfig == IDS
    alone = open_model(tmp_path / "model")
    assert alone.autoconfig is None
    assert alone.sha256 != model.sha256
    assert is_model(tmp_path)
    assert is_model(tmp_path / "model")
    assert not is_model(tmp_path / "model.int4")
    assert not is_model(tmp_path / "absent")


def test_an_autoconfig_that_is_named_takes_the_place_of_what_lies_there(tmp_path: Path) -> None:
    Model(NETWORK, IDS).write(tmp_path)
    (tmp_path / "model.int4").write_bytes(Model(NETWORK, IDS).archive)
    other = Autoconfig(dict.fromkeys(IDS.ids, 1009))
    (tmp_path / "other").write_text(other.text())
    for path in (tmp_path, tmp_path / "model", tmp_path / "model.int4"):
        assert open_model(path, tmp_path / "other").autoconfig == other


def test_an_autoconfig_of_another_engine_is_refused_wherever_it_lies(tmp_path: Path) -> None:
    foreign = Autoconfig(dict.fromkeys(IDS.ids, 6))
    Model(NETWORK, foreign).write(tmp_path)
    with pytest.raises(InputError, match="names one of another engine"):
        open_model(tmp_path)
    with pytest.raises(InputError, match="names one of another engine"):
        read_archive(Model(NETWORK, foreign).archive, "it")


def archive(**changes: bytes) -> bytes:
    """The archive with files replaced or added; names have `/` for `__`."""
    with zipfile.ZipFile(io.BytesIO(Model(NETWORK, IDS).archive)) as old:
        files = {name: old.read(name) for name in old.namelist()}
    files |= {name.replace("__", "/"): content for name, content in changes.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, content in files.items():
            new.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK", "must be an archive of an INT4 model"),
        (archive(notes=b""), "must hold model/ and autoconfig alone, got notes"),
        (archive(model__notes=b""), "has notes, which belongs to no layer"),
        (archive(autoconfig=b"\xff"), "its autoconfig must be ASCII text"),
        (archive(autoconfig=b"x=1\n"), "autoconfig of it:1: a line must be"),
        (archive(model__conv1=b"ReLU\n"), "must end its lines as the file `model` does"),
        (archive(model__relu=b"ReLU\r\n"), "must have the keys compute_mode, inplace"),
        (Model(NETWORK, IDS).archive[:-9], "must be an archive of an INT4 model"),
    ],
)
def test_an_archive_with_anything_else_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_archive(content, "it")
    assert told in str(caught.value)


def test_damaged_content_is_found() -> None:
    content = Model(NETWORK, IDS).archive
    weight = NETWORK.linear.weight.tobytes()
    assert content.count(weight) == 1
    damaged = content.replace(weight, bytes(len(weight)))
    with pytest.raises(InputError, match=r"it has a damaged npdata/fc\.weight"):
        read_archive(damaged, "it")
