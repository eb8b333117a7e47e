from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.data.maps import read_map
from autosinian.errors import InputError

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,10}\.jpg", fullmatch=True)


def write(folder: Path, text: str) -> Path:
    file = folder / "val_map.txt"
    file.write_bytes(text.encode())
    return file


@given(
    st.lists(st.tuples(NAMES, st.integers(0, 999)), unique_by=lambda pair: pair[0]),
    st.sampled_from(("\n", "\r\n")),
)
def test_tab_separated_lines_are_read_back_with_spaces_in_names(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, int]], end: str
) -> None:
    file = write(
        tmp_path_factory.mktemp("map"), "".join(f"{name}\t{label}{end}" for name, label in pairs)
    )
    lines = read_map(file, labels_needed=True, classes=1000)
    assert [(line.name, line.label) for line in lines] == pairs
    assert [line.line for line in lines] == list(range(1, len(pairs) + 1))


def test_space_separated_lines_blank_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeffa.jpg 3\r\n\r\n./b/c.jpg  4 \n")
    lines = read_map(file, labels_needed=True, classes=10)
    assert [(line.name, line.label, line.line) for line in lines] == [
        ("a.jpg", 3, 1),
        ("b/c.jpg", 4, 3),
    ]


def test_labels_may_be_left_out_where_none_are_needed(tmp_path: Path) -> None:
    lines = read_map(write(tmp_path, "a.jpg\nb.jpg\t1\n"), labels_needed=False, classes=10)
    assert [line.label for line in lines] == [None, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 1\nb.jpg\n", "line 2: a label is needed, but `b.jpg` has none"),
        ("a.jpg 1\nb.jpg\t\n", "line 2: a label is needed, but `b.jpg` has none"),
        ("a.jpg 10\n", "line 1: a label must be 0..9, but got 10"),
        ("a.jpg -1\n", "line 1: a label must be 0..9, but got -1"),
        ("a.jpg cat\n", "line 1: a label is an integer, but got `cat`"),
        ("a.jpg 1 2\n", "line 1: `name<TAB>label` is needed, but `a.jpg 1 2` has 3 columns"),
        ("a.jpg\t1\t2\n", "has 3 columns"),
        ("a.jpg 1\nb.jpg 2\na.jpg 1\n", "line 3: an image may be listed once, .* on line 1"),
        ("../a.jpg 1\n", "line 1: names stay inside the image folder"),
        ("/etc/a.jpg 1\n", "line 1: names stay inside the image folder"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_map(write(tmp_path, text), labels_needed=True, classes=10)
    assert "val_map.txt" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_label_has_no_upper_bound_where_classes_are_unknown(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jpg 123456\n")
    assert read_map(file, labels_needed=True, classes=None)[0].label == 123456


def test_an_absent_map_and_one_that_is_not_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.txt` does not exist"):
        read_map(tmp_path / "absent.txt", labels_needed=True, classes=10)
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="must be a UTF-8 text file"):
        read_map(tmp_path / "image.jpg", labels_needed=True, classes=10)


@pytest.mark.shared_data
def test_alibabas_maps_are_read(shared_data: Path) -> None:
    folder = shared_data / "alibaba" / "v1.0"
    validation = read_map(folder / "val_map_first2000.txt", labels_needed=True, classes=1000)
    assert len(validation) == 2000
    assert (validation[1].name, validation[1].label) == ("ILSVRC2012_val_00000002.JPEG", 970)
    calibration = read_map(folder / "cal_map.txt", labels_needed=False, classes=1000)
    assert len(calibration) == 500
    assert (calibration[0].name, calibration[0].label) == ("ILSVRC2012_val_00027145.JPEG", 14)
