"""LoadGen's own settings as options, and what a run gave: alike for every command that runs it."""

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autosinian.mlperf.loadgen_fields import LOG_FIELDS, TEST_FIELDS, parse

if TYPE_CHECKING:
    from autosinian.mlperf.run_report import Report

TEST_MODES = ("SubmissionRun", "PerformanceOnly", "AccuracyOnly", "FindPeakPerformance")


def add_loadgen_options(parser: argparse.ArgumentParser) -> None:
    """Add `--lgts-<field>` and `--lgls-<field>`, with `_` or `-` between their words."""
    for prefix, table in (("lgts", TEST_FIELDS), ("lgls", LOG_FIELDS)):
        for name in table:
            dashed = name.replace("_", "-")
            spellings = dict.fromkeys(
                (f"--{prefix}-{name}", f"--{prefix}_{name}", f"--{prefix}-{dashed}")
            )
            parser.add_argument(
                *spellings, dest=f"{prefix}_{name}", metavar="V", help=argparse.SUPPRESS
            )


def loadgen_settings(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields given for the test and for its logs. Raises `InputError` for a wrong value."""
    return _given(arguments, "lgts", TEST_FIELDS), _given(arguments, "lgls", LOG_FIELDS)


def told_fields() -> str:
    """The names of all fields, for the end of a command's help."""
    return _fields("--lgts-", TEST_FIELDS) + "\n" + _fields("--lgls-", LOG_FIELDS)


def print_reports(reports: "Sequence[Report]", *, as_json: bool) -> int:
    """Print what runs gave; the exit code is 1 where LoadGen says INVALID."""
    if as_json:
        print(json.dumps([report.to_dict() for report in reports]))
    else:
        print("\n\n".join("\n".join(report.lines()) for report in reports))
    for report in reports:
        if not report.measurement.valid:
            print(
                f"autosinian: LoadGen says INVALID: {report.measurement.invalid_reason}",
                file=sys.stderr,
            )
    return 0 if all(report.measurement.valid for report in reports) else 1


def _given(
    arguments: argparse.Namespace, prefix: str, fields: Mapping[str, type]
) -> dict[str, Any]:
    texts = {name: getattr(arguments, f"{prefix}_{name}") for name in fields}
    return {name: parse(fields, name, text) for name, text in texts.items() if text is not None}


def _fields(prefix: str, fields: Mapping[str, type]) -> str:
    names = textwrap.fill(
        ", ".join(fields), 96, initial_indent="  ", subsequent_indent="  ", break_long_words=False
    )
    return f"any of LoadGen's fields may be set by name, as {prefix}<field> V:\n{names}\n"
