"""audit.config files."""

from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.mlperf.audit_config import TESTS, built_in, read_audit_config, seeds_of


@pytest.mark.parametrize("test", TESTS)
def test_the_built_in_files_are_audit_configs_of_their_test(test: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.config"
    path.write_text(built_in(test))
    assert read_audit_config(path) == (test, built_in(test))


def test_the_official_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.config"
    path.write_text(
        "# All times are in milli seconds\n"
        "*.Offline.mode = 2\n*.Offline.performance_issue_same = 1\n\n"
        "*.Offline.performance_issue_same_index = 3 # any\n"
        "stable-diffusion-xl.Offline.min_query_count = 500\n"
    )
    assert read_audit_config(path)[0] == "TEST04"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", "line 1 is not `model.scenario.key = number`: `hello`"),
        ("*.*.mode = fast\n", "line 1 is not"),
        ("*.Everywhere.mode = 2\n", "line 1 is not"),
        ("*.*.mode = 2\n*.*.colour = 3\n", "line 2 sets `colour`, which LoadGen has not"),
        ("*.*.mode = 2\n", "say nothing that tells which test it is"),
        ("", "say nothing that tells which test it is"),
        (built_in("TEST01") + built_in("TEST04"), "say TEST01 and TEST04"),
    ],
)
def test_what_is_no_audit_config_is_told_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.config"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_audit_config(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.config"
    with pytest.raises(InputError, match="cannot be read"):
        read_audit_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not text"):
        read_audit_config(path)
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(InputError, match="longer than 64 KiB"):
        read_audit_config(path)


def test_seeds_are_those_of_the_file_or_the_built_in() -> None:
    usual = seeds_of(built_in("TEST05"))
    assert len(set(usual.values())) == 3
    assert seeds_of("*.*.test05 = 1\n") == usual
    changed = seeds_of("*.*.qsl_rng_seed = 7\n*.*.test05_schedule_rng_seed = 8\n")
    assert (changed["qsl_rng_seed"], changed["schedule_rng_seed"]) == (7, 8)
    assert changed["sample_index_rng_seed"] == usual["sample_index_rng_seed"]
