"""What is submitted, and which rules it breaks before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autosinian.errors import InputError
from autosinian.mlperf import rules
from autosinian.mlperf.audit_runs import Served
from autosinian.mlperf.checker_runs import Problem
from autosinian.mlperf.rules import Round

_UNFIT = frozenset('/\\:*?"<>|')


@dataclass(frozen=True)
class Plan:
    """What is submitted, and how.

    `system` names it (None: by its device). `logs` is a folder of runs to use, `measure` whether
    missing ones are made. `audits` asks for them outside the closed division too. `fields` replace
    what was read of the machine. `dataset_size` false leaves out the rule `dataset`. A `test_run`
    is written whatever rules it breaks, and marked.
    """

    submitter: str
    division: str
    round: Round
    system: str | None = None
    system_type: str = "edge"
    status: str = "available"
    logs: Path | None = None
    measure: bool = True
    audits: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    dataset_size: bool = True
    test_run: bool = False

    def __post_init__(self) -> None:
        for option, name in (("--submitter", self.submitter), ("--system", self.system or "x")):
            if not name or name != name.strip() or name.startswith(".") or set(name) & _UNFIT:
                raise InputError(f"`{option}` must be a name, fit for a folder, but got `{name}`")
        for option, value, allowed in (
            ("--division", self.division, rules.DIVISIONS),
            ("--system-type", self.system_type, rules.SYSTEM_TYPES),
            ("--status", self.status, rules.AVAILABILITIES),
        ):
            if value not in allowed:
                raise InputError(f"`{option}` must be one of {', '.join(allowed)}, got `{value}`")


@dataclass(frozen=True)
class Result:
    """One scenario of one bundle with the folder of its runs."""

    served: Served
    system: str
    benchmark: str
    scenario: str
    runs: Path

    @property
    def result(self) -> dict[str, Any]:
        """The bundle's `result.json`."""
        assert self.served.source.bundle is not None
        return self.served.source.bundle.result

    @property
    def bundle(self) -> str:
        """Where the bundle lies in the submission."""
        return f"src/{self.benchmark}/{self.served.source.name}"


def foresee(plan: Plan, results: Sequence[Result]) -> list[Problem]:
    """Rules that the tree breaks whatever comes out of its runs."""
    found = model_problems(plan, results)
    for entry in {entry.bundle: entry for entry in results}.values():
        count = entry.served.arrays.samples
        if plan.dataset_size and count != rules.SAMPLES:
            found.append(Problem("dataset", entry.bundle, f"has {count:,} validation samples"))
        if count < rules.PERFORMANCE_SAMPLES:
            found.append(Problem("samples", entry.bundle, f"has {count:,} validation samples"))
    if plan.division != "closed":
        return found
    required = rules.required_scenarios(plan.system_type)
    for system in sorted({entry.system for entry in results}):
        given = {entry.scenario for entry in results if entry.system == system}
        missing = [name for name in required if name not in given]
        if not required:
            found.append(Problem("benchmark", system, f"is not of the {plan.system_type} division"))
        elif missing:
            found.append(Problem("scenarios", system, f"lacks {', '.join(missing)}"))
    return found


def model_problems(plan: Plan, results: Sequence[Result]) -> list[Problem]:
    """A tree does not say what its network is, but a bundle does."""
    if plan.division != "closed":
        return []
    return [
        Problem("model", entry.bundle, "is a network of a search, not the reference's")
        for entry in {entry.bundle: entry for entry in results}.values()
        if "supernet" in entry.result
    ]


def refusal(round_name: str, problems: Sequence[Problem]) -> str:
    """All broken rules in one line, each with its first problem."""
    first = {problem.rule: problem for problem in reversed(problems)}
    told = "; ".join(
        f"`{name}` ({asks}): {first[name].where} {first[name].detail}"
        for name, asks in rules.RULES.items()
        if name in first
    )
    return f"the submission must keep the rules of {round_name}, but breaks {told}"
