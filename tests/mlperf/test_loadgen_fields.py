"""The table of LoadGen's fields is LoadGen's own."""

from collections.abc import Mapping
from typing import Any

import mlperf_loadgen
import pytest

from autosinian.errors import InputError
from autosinian.mlperf.loadgen_fields import LOG_FIELDS, TEST_FIELDS, parse

# What a job's own fields say, and what is not a plain value.
NOT_BY_NAME = {"FromConfig", "mode", "scenario", "log_mode", "log_output", "outdir"}


def fields(*objects: Any) -> dict[str, type]:
    return {
        name: type(getattr(value, name))
        for value in objects
        for name in dir(value)
        if not name.startswith("_") and name not in NOT_BY_NAME
    }


@pytest.mark.parametrize(
    ("table", "own"),
    [
        (TEST_FIELDS, fields(mlperf_loadgen.TestSettings())),
        (LOG_FIELDS, fields(mlperf_loadgen.LogSettings(), mlperf_loadgen.LogOutputSettings())),
    ],
)
def test_the_table_has_every_field_with_its_type(
    table: Mapping[str, type], own: dict[str, type]
) -> None:
    assert dict(table) == own


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("min_duration_ms", "60000", 60000),
        ("min_duration_ms", "6e4", 60000),
        ("qsl_rng_seed", "16159082839903944936", 16159082839903944936),
        ("server_target_qps", "801000.5", 801000.5),
        ("performance_issue_same", "1", True),
        ("performance_issue_same", "false", False),
    ],
)
def test_values_are_read_by_their_type(name: str, text: str, value: object) -> None:
    found = parse(TEST_FIELDS, name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("min_duration_ms", "1.5"), ("server_target_qps", "fast"), ("test05", "2")],
)
def test_another_value_is_refused(name: str, text: str) -> None:
    with pytest.raises(InputError, match=f"LoadGen's `{name}` must be .*, but got `{text}`"):
        parse(TEST_FIELDS, name, text)
