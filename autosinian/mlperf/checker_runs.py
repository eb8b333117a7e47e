"""The rules that a scenario's runs must keep, checked on its folder of a submission."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autosinian.content import file_sha256
from autosinian.mlperf import rules
from autosinian.mlperf.rules import Round
from autosinian.mlperf.submission_logs import ACCURACY, DETAIL, SUMMARY, RunLog, read_run

ACCURACY_TXT = "accuracy.txt"
CUT = "\n\n...\n\n"
"""What stands where an accuracy log was cut."""

_ACCURACY = re.compile(r'^(?:\{"accuracy|accuracy)[": ]*=?\s*([\d.]+)', re.MULTILINE)
_HASH = re.compile(r"^hash=(\w+)$", re.MULTILINE)
_BORNE_IN_AUDITS = "Multiple conf files are used"
_MAY_LIE_THERE = {ACCURACY, "mlperf_log_trace.json", "results.json", ".gitkeep"}

# From a run of the first scenario the second's result may be inferred, on edge systems.
_INFERRED = {
    ("SingleStream", "MultiStream"),
    ("SingleStream", "Offline"),
    ("MultiStream", "Offline"),
}


@dataclass(frozen=True)
class Problem:
    """A rule that is not kept: its name in `rules.RULES`, where (a path) and what was found."""

    rule: str
    where: str
    detail: str


@dataclass(frozen=True)
class Place:
    """One scenario's folder; `scenario` is spelled as LoadGen spells it."""

    folder: Path
    root: Path
    division: str
    scenario: str
    system_type: str
    round: Round
    dataset_size: bool = True

    def problem(self, rule: str, path: Path, detail: str) -> Problem:
        """A problem at `path`, told by its place in the tree."""
        return Problem(rule, path.relative_to(self.root).as_posix(), detail)


def check_performance(place: Place, folder: Path, kind: str = "performance") -> Iterator[Problem]:
    """A performance run, or that of the audit `kind`, whose logs lie in `folder`."""
    run = read_run(folder)
    if run is None:
        yield place.problem("structure", folder / DETAIL, "is missing or no log of LoadGen")
        return
    if not (folder / SUMMARY).is_file():
        yield place.problem("structure", folder / SUMMARY, "is missing")
    where = folder / DETAIL
    if run.kind not in (kind, "SubmissionRun"):
        yield place.problem("run-kind", where, f"is a run of {run.kind}, not of {kind}")
    errors = [e for e in run.errors if kind == "performance" or _BORNE_IN_AUDITS not in e]
    if errors:
        yield place.problem("loadgen-errors", where, "; ".join(errors))
    if not run.valid:
        reason = " ".join(str(run.values.get("result_invalid_reason", "no reason given")).split())
        yield place.problem("validity", where, reason)
    yield from _check_scenario(place, run, where)
    yield from _check_settings(place, run, where)
    yield from _check_latency(place, run, where)


def _check_scenario(place: Place, run: RunLog, where: Path) -> Iterator[Problem]:
    if run.scenario == place.scenario:
        return
    inferred = (run.scenario, place.scenario) in _INFERRED and "edge" in place.system_type
    if not inferred:
        yield place.problem("scenarios", where, f"is of {run.scenario}, not of {place.scenario}")


def _check_settings(place: Place, run: RunLog, where: Path) -> Iterator[Problem]:
    values = run.values
    samples = run.number("effective_performance_sample_count")
    if samples < rules.PERFORMANCE_SAMPLES:
        yield place.problem("samples", where, f"{samples:g} are kept loaded")
    wrong = [
        f"{name} is {values.get(f'effective_{name}')}, of {place.round.name} is {seed}"
        for name, seed in place.round.seeds.items()
        if values.get(f"effective_{name}") != seed
    ]
    if wrong:
        yield place.problem("seeds", where, "; ".join(wrong))
    duration = run.number("effective_min_duration_ms")
    if duration < rules.MIN_DURATION_MS:
        yield place.problem("duration", where, f"asks for {duration / 1000:g} s")
    issued = run.number("effective_samples_per_query")
    too_few = run.scenario == "Offline" and issued < rules.OFFLINE_SAMPLES
    if too_few and place.division == "closed":
        yield place.problem("queries", where, f"issues {issued:,.0f} samples")


def _check_latency(place: Place, run: RunLog, where: Path) -> Iterator[Problem]:
    values = run.values
    wanted = rules.PERCENTILES.get(run.scenario)
    if wanted is None:
        return
    if not values.get("early_stopping_met"):
        told = " ".join(str(values.get("early_stopping_result", "")).split())
        yield place.problem("latency", where, f"early stopping is not met: {told or 'not told'}")
    percentile = run.number("effective_target_latency_percentile")
    if percentile < wanted:
        yield place.problem("latency", where, f"is measured at {percentile:g}, not at {wanted:g}")
    bound = run.number("effective_target_latency_ns")
    if run.scenario == "Server" and bound > rules.SERVER_LATENCY_NS:
        yield place.problem("latency", where, f"bounds latency at {bound / 1e6:g} ms")


def check_accuracy(place: Place) -> Iterator[Problem]:
    """The accuracy run of a scenario."""
    folder = place.folder / "accuracy"
    run = read_run(folder)
    if run is None:
        yield place.problem("structure", folder / DETAIL, "is missing or no log of LoadGen")
    else:
        where = folder / DETAIL
        if run.kind not in ("accuracy", "SubmissionRun"):
            yield place.problem("run-kind", where, f"is a run of {run.kind}, not of accuracy")
        if run.errors:
            yield place.problem("loadgen-errors", where, "; ".join(run.errors))
        # LoadGen writes 0 where the run was not told another number.
        told = run.number("effective_accuracy_sample_count")
        count = told or run.number("qsl_reported_total_count")
        if place.dataset_size and count != rules.SAMPLES:
            yield place.problem("dataset", where, f"covers {count:,.0f} samples")
    log, text = folder / ACCURACY, folder / ACCURACY_TXT
    for path in (log, text, folder / SUMMARY):
        if not path.is_file():
            yield place.problem("structure", path, "is missing")
    if log.is_file() and log.stat().st_size > rules.RETAINED_LOG_BYTES:
        yield place.problem("truncation", log, f"has {log.stat().st_size:,} bytes")
    if text.is_file():
        yield from _check_accuracy_text(place, text, log)


def _check_accuracy_text(place: Place, path: Path, log: Path) -> Iterator[Problem]:
    accuracy = read_accuracy(path)
    if accuracy is None:
        yield place.problem("accuracy", path, "has no line `accuracy=<percent>%`")
    elif accuracy < rules.ACCURACY_PERCENT and place.division == "closed":
        bar = f"{rules.ACCURACY_PERCENT:.3f} %"
        yield place.problem("accuracy", path, f"says {accuracy:g} %, below {bar}")
    match = _HASH.search(path.read_text(encoding="utf-8", errors="replace"))
    if match is None:
        yield place.problem("hash", path, "has no line `hash=<SHA-256>`")
    elif log.is_file() and not _is_cut(log) and match[1] != file_sha256(log):
        yield place.problem("hash", path, f"has another hash than {ACCURACY}, which is whole")


def _is_cut(log: Path) -> bool:
    if log.stat().st_size > rules.RETAINED_LOG_BYTES:
        return False
    return CUT in log.read_text(encoding="utf-8", errors="replace")


def read_accuracy(path: Path) -> float | None:
    """The accuracy in percent that an accuracy.txt tells; None where it tells none."""
    try:
        match = _ACCURACY.search(path.read_text(encoding="utf-8", errors="replace"))
        return None if match is None else float(match[1])
    except (OSError, ValueError):
        return None


def check_audit(place: Place, test: str) -> Iterator[Problem]:
    """One audit of a scenario; outside the closed division one that is there must be passed."""
    folder = place.folder / test
    if not folder.is_dir():
        if place.division == "closed":
            yield place.problem("audit", folder, "is missing")
        return
    speed = folder / "verify_performance.txt"
    if "TEST PASS" not in _text(speed):
        yield place.problem("audit", speed, "does not say TEST PASS")
    logs = folder / "performance" / "run_1"
    yield from check_performance(place, logs, test)
    present = {path.name for path in logs.glob("*")}
    strange = present - {SUMMARY, DETAIL} - _MAY_LIE_THERE
    if strange:
        yield place.problem("structure", logs, f"holds {', '.join(sorted(strange))} too")
    if test == "TEST01":
        yield from _check_answers(place, folder)


def _check_answers(place: Place, folder: Path) -> Iterator[Problem]:
    path = folder / "verify_accuracy.txt"
    answers = folder / "accuracy"
    for name in (ACCURACY, ACCURACY_TXT):
        if not (answers / name).is_file():
            yield place.problem("structure", answers / name, "is missing")
    if "TEST PASS" in [line.strip() for line in _text(path).splitlines()]:
        return
    # Answers that differ by rounding are borne where the accuracy is the same within 1 %.
    before = read_accuracy(answers / "baseline_accuracy.txt")
    after = read_accuracy(answers / "compliance_accuracy.txt")
    if not before or not after:
        yield place.problem("audit", path, "does not say TEST PASS")
    elif abs(1 - before / after) * 100 > 1:
        yield place.problem("audit", path, f"differs: {after:g} % instead of {before:g} %")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
