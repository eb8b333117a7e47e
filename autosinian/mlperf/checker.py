"""Whether a submission tree keeps the rules, as far as they concern image classification.

The tree may be anybody's: `<division>/<submitter>/{results,src,systems}` as in round v6.0 and
later. `autosinian.mlperf.rules` says which edition of the official rules this follows.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autosinian.errors import InputError
from autosinian.measure.measurement import SCENARIOS
from autosinian.mlperf import rules
from autosinian.mlperf.checker_runs import (
    ACCURACY_TXT,
    Place,
    Problem,
    check_accuracy,
    check_audit,
    check_performance,
    read_accuracy,
)
from autosinian.mlperf.rules import Round
from autosinian.mlperf.submission_logs import read_run

MARK = "TEST_RUN.md"
"""The file at the root of a tree that must not be submitted."""

_FILE_BYTES = 50 << 20
_SPELLED = {name.lower(): name for name in SCENARIOS}


@dataclass(frozen=True)
class Entry:
    """One result of the tree; `value` is in `unit`, `accuracy` in percent."""

    division: str
    submitter: str
    system: str
    benchmark: str
    scenario: str
    value: float | None
    unit: str
    accuracy: float | None


@dataclass(frozen=True)
class Report:
    """What was found in a tree, with the round whose rules it was held against."""

    round: str
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule is kept."""
        return not self.problems

    @property
    def failed_rules(self) -> tuple[str, ...]:
        """Names of the rules that are not kept, in the order of `rules.RULES`."""
        failed = {problem.rule for problem in self.problems}
        return tuple(name for name in rules.RULES if name in failed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {
            "round": self.round,
            "passed": self.passed,
            "failed_rules": list(self.failed_rules),
            "problems": [asdict(problem) for problem in self.problems],
            "entries": [asdict(entry) for entry in self.entries],
        }


def check(root: Path, round_: Round, *, dataset_size: bool = True) -> Report:
    """Check a tree. `dataset_size` false leaves out the rule `dataset`, as for other data sets.

    Raises `InputError` for a folder that holds no division.
    """
    divisions = [name for name in rules.DIVISIONS if (root / name).is_dir()]
    if not divisions:
        names = " or ".join(rules.DIVISIONS)
        raise InputError(f"`{root}` must be a submission: a folder that holds {names}")
    problems: list[Problem] = []
    entries: list[Entry] = []
    if (root / MARK).exists():
        problems.append(Problem("test-run", MARK, "the tree was made as a test run"))
    for division in divisions:
        for submitter in _folders(root / division):
            checker = _Submission(root, submitter, division, round_, dataset_size)
            problems += checker.problems()
            entries += checker.entries
    if not entries and not problems:
        names = ", ".join(divisions)
        problems.append(Problem("structure", names, "holds no result"))
    return Report(round_.name, tuple(entries), tuple(dict.fromkeys(problems)))


class _Submission:
    """One submitter's folder in one division."""

    def __init__(
        self, root: Path, folder: Path, division: str, round_: Round, dataset_size: bool
    ) -> None:
        self._root, self._folder, self._division = root, folder, division
        self._round, self._dataset_size = round_, dataset_size
        self.entries: list[Entry] = []

    def problems(self) -> Iterator[Problem]:
        """Every problem; fills `entries`."""
        if not (self._folder / "src").is_dir():
            yield self._problem("structure", self._folder / "src", "is missing")
        for path in self._folder.rglob("*"):
            if path.is_file() and path.stat().st_size > _FILE_BYTES:
                yield self._problem("structure", path, "is larger than 50 MiB")
        for system in _folders(self._folder / "results"):
            yield from self._system(system)

    def _system(self, folder: Path) -> Iterator[Problem]:
        path = self._folder / "systems" / f"{folder.name}.json"
        description = _read_json(path)
        if description is None:
            yield self._problem("system", path, "is missing or is no JSON object")
            description = {}
        else:
            yield from self._description(path, description)
        system_type = str(description.get("system_type", ""))
        mapping = _read_json(self._folder / rules.MODEL_MAPPING) or {}
        for benchmark in _folders(folder):
            mapped = mapping.get(benchmark.name, benchmark.name)
            if mapped not in rules.BENCHMARKS:
                known = ", ".join(rules.BENCHMARKS)
                yield self._problem("benchmark", benchmark, f"is not one of {known}")
                continue
            scenarios = {_SPELLED.get(path.name.lower(), ""): path for path in _folders(benchmark)}
            yield from self._scenarios(benchmark, system_type, scenarios)
            for scenario, path in scenarios.items():
                if scenario:
                    yield from self._scenario(path, scenario, system_type)

    def _scenarios(
        self, benchmark: Path, system_type: str, found: Mapping[str, Path]
    ) -> Iterator[Problem]:
        if "" in found:
            yield self._problem("scenarios", found[""], "is no scenario")
        if self._division != "closed" or not system_type:
            return
        required = rules.required_scenarios(system_type)
        if not required:
            detail = f"is not of the {system_type} division"
            yield self._problem("benchmark", benchmark, detail)
            return
        missing = [name for name in required if name not in found]
        if missing:
            yield self._problem("scenarios", benchmark, f"lacks {', '.join(missing)}")
        other = [name for name in found if name and name not in required]
        if other:
            yield self._problem("scenarios", benchmark, f"holds {', '.join(other)} too")

    def _scenario(self, folder: Path, scenario: str, system_type: str) -> Iterator[Problem]:
        place = Place(
            folder,
            self._root,
            self._division,
            scenario,
            system_type,
            self._round,
            self._dataset_size,
        )
        yield from self._measurements(folder)
        yield from check_performance(place, folder / "performance" / "run_1")
        yield from check_accuracy(place)
        for test in rules.AUDITS:
            yield from check_audit(place, test)
        run = read_run(folder / "performance" / "run_1")
        rate = run is not None and run.scenario in ("Offline", "Server")
        score = None if run is None or run.score is None else run.score / (1 if rate else 1e6)
        _, submitter, _, system, benchmark, _ = folder.relative_to(self._root).parts
        self.entries.append(
            Entry(
                self._division,
                submitter,
                system,
                benchmark,
                scenario,
                score,
                "samples/s" if rate else "ms",
                read_accuracy(folder / "accuracy" / ACCURACY_TXT),
            )
        )

    def _measurements(self, folder: Path) -> Iterator[Problem]:
        for name in ("README.md", "user.conf"):
            path = folder / name
            if not path.is_file() or not path.stat().st_size:
                yield self._problem("measurements", path, "is missing or empty")
        path = folder / "measurements.json"
        found = _read_json(path)
        if found is None:
            yield self._problem("measurements", path, "is missing or is no JSON object")
            return
        empty = [name for name in rules.MEASUREMENT_FIELDS if not found.get(name)]
        if empty:
            yield self._problem("measurements", path, f"says nothing of {', '.join(empty)}")

    def _description(self, path: Path, description: Mapping[str, Any]) -> Iterator[Problem]:
        missing = [name for name in rules.SYSTEM_FIELDS if name not in description]
        empty = [
            name
            for name in rules.SYSTEM_FIELDS
            if name in description and name not in rules.MAY_BE_EMPTY and not description[name]
        ]
        if missing:
            yield self._problem("system", path, f"lacks {', '.join(missing)}")
        # An integer 0 counts as nothing there, so a machine without accelerators says "0".
        if empty:
            yield self._problem("system", path, f"says nothing of {', '.join(empty)}")
        wanted = {
            "status": rules.AVAILABILITIES,
            "system_type": rules.SYSTEM_TYPES,
            "division": (self._division,),
            "submitter": (self._folder.name.lower(),),
        }
        for name, allowed in wanted.items():
            if name in description and str(description[name]).lower() not in allowed:
                known = ", ".join(allowed)
                yield self._problem("system", path, f"{name} is not {known}")
        if str(description.get("is_network", "")).lower() == "true":
            yield self._problem("system", path, "describes a network division's system")

    def _problem(self, rule: str, path: Path, detail: str) -> Problem:
        return Problem(rule, path.relative_to(self._root).as_posix(), detail)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
