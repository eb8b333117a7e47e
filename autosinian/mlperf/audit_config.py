"""audit.config files: the built-in ones, and what is one.

LoadGen reads `model.scenario.key = value` lines from a file named to it and lets them override
every other setting. It asks for the model `*` alone, and ignores what it does not know.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from autosinian.errors import InputError
from autosinian.measure.measurement import SCENARIOS

TESTS = ("TEST01", "TEST04", "TEST05")
_PURPOSE = {
    "TEST01": "answers of a performance run are those of the accuracy run",
    "TEST04": "one sample repeated is not answered faster than many",
    "TEST05": "other random numbers give the same speed (asked for before round v5.0)",
}

_SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
_KEYS: Mapping[str, Mapping[str, int]] = {
    "TEST01": {
        "mode": 2,
        "accuracy_log_rng_seed": 720381539243781796,
        "accuracy_log_sampling_target": 4096,
    },
    "TEST04": {
        "mode": 2,
        "performance_issue_unique": 0,
        "performance_issue_same": 1,
        "performance_issue_same_index": 3,
    },
    "TEST05": {
        "mode": 2,
        "qsl_rng_seed": 7975553102935885558,
        "sample_index_rng_seed": 11403566307062068064,
        "schedule_rng_seed": 15816800565822761601,
    },
}
"""As compliance/TEST01/resnet50 and compliance/TEST04 of github.com/mlcommons/inference have them;
TEST05's seeds are those in LoadGen 6's own mlperf.conf."""

_KNOWN = frozenset(
    (
        *("mode", "min_duration", "max_duration", "min_query_count", "max_query_count"),
        *("target_qps", "target_latency", "target_latency_percentile", "samples_per_query"),
        *("accuracy_log_rng_seed", "accuracy_log_probability", "accuracy_log_sampling_target"),
        *("performance_issue_unique", "performance_issue_same", "performance_issue_same_index"),
        *("performance_sample_count_override", "accuracy_sample_count_override"),
        *("sample_concatenate_permutation", "coalesce_queries", "max_async_queries"),
        *("print_timestamps", "test05", *(f"test05_{name}" for name in _SEEDS), *_SEEDS),
    )
)
_LINE = re.compile(r"([^\s.]+)\.([^\s.]+)\.([^\s.=]+)\s*=\s*([-+.\w]+)")
_SMALL = 64 * 1024


def built_in(test: str) -> str:
    """The text of a test's audit.config."""
    lines = [f"# {test}: {_PURPOSE[test]}", "# model.scenario.key = value"]
    lines += [f"*.*.{key} = {value}" for key, value in _KEYS[test].items()]
    return "\n".join(lines) + "\n"


def read_audit_config(path: Path) -> tuple[str, str]:
    """The test that a file is for, and its text. Raises `InputError` for what is none."""
    wanted = f"`{path}` must be an audit.config of {', '.join(TESTS)}, but"
    try:
        if path.stat().st_size > _SMALL:
            raise InputError(f"{wanted} it is longer than 64 KiB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{wanted} it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{wanted} it is not text") from error
    settings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[2] not in ("*", *SCENARIOS) or not _number(match[4]):
            raise InputError(
                f"{wanted} line {number} is not `model.scenario.key = number`: `{line[:60]}`"
            )
        if match[3] not in _KNOWN:
            raise InputError(f"{wanted} line {number} sets `{match[3]}`, which LoadGen has not")
        if match[1] == "*":
            settings[match[3]] = match[4]
    return _test_of(settings, wanted), text


def seeds_of(text: str) -> dict[str, int]:
    """The seeds that a TEST05 file sets, by LoadGen's field names; the built-in where it has none.

    LoadGen 6 takes seeds from its own mlperf.conf and from a program, but from no other file.
    """
    pairs = (line.partition("#")[0].partition("=") for line in text.splitlines())
    values = {key.strip().rpartition(".")[2]: value.strip() for key, _, value in pairs}
    return {
        name: int(values.get(name) or values.get(f"test05_{name}") or _KEYS["TEST05"][name])
        for name in _SEEDS
    }


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _test_of(settings: Mapping[str, str], wanted: str) -> str:
    """Which test the settings are of."""
    on = {key for key, value in settings.items() if float(value)}
    found = []
    if on & {"accuracy_log_sampling_target", "accuracy_log_probability"}:
        found.append("TEST01")
    if "performance_issue_same" in on:
        found.append("TEST04")
    if on & {*_SEEDS, "test05"}:
        found.append("TEST05")
    if len(found) != 1:
        says = "nothing that tells which test it is" if not found else " and ".join(found)
        raise InputError(f"{wanted} its lines for every model say {says}")
    return found[0]
