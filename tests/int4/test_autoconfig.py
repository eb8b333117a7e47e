"""Autoconfig files: the published form, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.int4.autoconfig import (
    FIRST_OWN_ID,
    Autoconfig,
    autoconfig_names,
    check_autoconfig,
    parse_autoconfig,
    read_autoconfig,
    write_autoconfig,
)
from autosinian.int4.model_reader import read_model
from tests.int4.small_networks import small_network

PUBLISHED = ("autoconfig_t4", "autoconfig_rtx", "autoconfig_a10x1_bs1024")

names = st.builds(
    lambda layer, block, conv: f"layer{layer}_residual{block}_{conv}",
    st.integers(1, 12),
    st.integers(1, 40),
    st.sampled_from(["ds_conv", "conv1", "conv2", "conv3"]),
)


def own(**changes: int) -> Autoconfig:
    wanted = dict.fromkeys(autoconfig_names(small_network()), FIRST_OWN_ID)
    return Autoconfig(wanted | changes)


@given(st.dictionaries(names, st.integers(0, 999_999_999), min_size=1))
def test_what_is_written_is_read_again(ids: dict[str, int]) -> None:
    read = parse_autoconfig(Autoconfig(ids).text(), "it")
    assert list(read.ids.items()) == list(ids.items())


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        read = parse_autoconfig(text, "it")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert len(read.ids) == text.count("\n")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_is_read_and_refused_as_another_engines(
    published: Path, name: str, tmp_path: Path
) -> None:
    network = read_model(published / "model")
    read = read_autoconfig(published / name)
    assert len(read.ids) == 52
    assert tuple(read.ids) == autoconfig_names(network)
    write_autoconfig(tmp_path / name, read)
    assert (tmp_path / name).read_bytes() == (published / name).read_bytes()
    with pytest.raises(InputError) as caught:
        check_autoconfig(read, network, f"`{name}`")
    assert "names one of another engine (published files have 0 to 40)" in str(caught.value)
    assert "autosinian int4 tune" in str(caught.value)


def test_lines_follow_the_network_with_its_downsample_first() -> None:
    assert autoconfig_names(small_network())[:7] == (
        "layer1_residual1_ds_conv",
        "layer1_residual1_conv1",
        "layer1_residual1_conv2",
        "layer1_residual1_conv3",
        "layer1_residual2_conv1",
        "layer1_residual2_conv2",
        "layer1_residual2_conv3",
    )


def test_a_whole_file_of_own_ids_is_accepted() -> None:
    check_autoconfig(own(), small_network(), "it")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("layer1_residual1_conv1=1000", "must have lines that each end with LF"),
        ("", "must have lines that each end with LF"),
        ("layer1_residual1_conv1=1000\r\n", "it:1: a line must be"),
        ("# made here\n", "it:1: a line must be"),
        ("layer1_residual1_conv1=1000\n\n", "it:2: a line must be"),
        ("layer0_residual1_conv1=1000\n", "it:1: a line must be"),
        ("layer1_residual1_conv1=-1\n", "it:1: a line must be"),
        (2 * "layer1_residual1_conv1=1000\n", "it:2: a layer must have one line, but"),
    ],
)
def test_a_line_of_another_form_is_named(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_autoconfig(text, "it")
    assert told in str(caught.value)


def test_missing_unknown_and_foreign_layers_are_named() -> None:
    network = small_network()
    whole = own().ids
    missing = Autoconfig({name: whole[name] for name in list(whole)[1:-1]})
    with pytest.raises(InputError, match="layer1_residual1_ds_conv is missing and 1 more"):
        check_autoconfig(missing, network, "it")
    with pytest.raises(InputError, match="no layer3_residual1_conv1; did you mean layer"):
        check_autoconfig(own(layer3_residual1_conv1=1000), network, "it")
    with pytest.raises(InputError, match="layer1_residual2_conv1=40 names one of another engine"):
        check_autoconfig(own(layer1_residual2_conv1=40), network, "it")


def test_an_id_that_does_not_fit_a_shape_is_told_with_the_reason() -> None:
    refusals = {"layer1_residual1_conv2": lambda identity: f"no tile {identity}"}
    with pytest.raises(InputError, match="conv2=1000 is invalid for this layer's shape: no tile"):
        check_autoconfig(own(), small_network(), "it", refusals)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_autoconfig(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="must be an ASCII text"):
        read_autoconfig(tmp_path / "binary")
