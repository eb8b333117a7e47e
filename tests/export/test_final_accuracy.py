"""What is exported where the best candidate was flattered by the samples of the search.

The best is the one of fewest multiply-adds here: no speed decides what these tests see.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autosinian.export.contender import contender
from autosinian.export.exporter import Exporter, Plan
from autosinian.search.outcome import Outcome, Record
from autosinian.space.candidate import Candidate
from autosinian.supernet import Supernet
from tests.export.conftest import Study

PLAN = Plan(top=2, rounds=2, seconds=0.1, final_seconds=0.1, most_rounds=2)
SUBNETS = 40


def final_accuracy(study: Study, record: Record) -> float:
    ready = contender(record, study.bench.evaluator)
    return study.bench.evaluator.accuracy(
        ready.candidate, ready.engine_file, "validation", "final-accuracy"
    )[0]


def flattered(record: Record, candidate: Candidate | None = None) -> Record:
    """The record as if the search's samples had all been answered rightly."""
    assert record.evaluation is not None
    evaluation = replace(record.evaluation, metrics=record.metrics | {"accuracy": 1.0})
    return replace(record, evaluation=evaluation, candidate=candidate or record.candidate)


def more_accurate(study: Study, record: Record, than: float) -> tuple[Record, float]:
    """The record with the first other subnet, of those drawn, that beats `than`."""
    supernet = study.bench.network
    assert record.candidate is not None and isinstance(supernet, Supernet)
    for seed in range(SUBNETS):
        subnet = supernet.sample(random.Random(seed), 16)
        other = replace(record, candidate=replace(record.candidate, subnet=subnet))
        accuracy = final_accuracy(study, other)
        if accuracy > than:
            return flattered(other), accuracy
    raise AssertionError(f"none of {SUBNETS} subnets has more than {than}")


def exporter(
    study: Study, records: list[Record], least: float, told: list[str], plan: Plan = PLAN
) -> Exporter:
    changes = {
        "objectives": ["accuracy", "macs"],
        "constraints": [f"accuracy >= {least}"],
        "scenarios": ["Offline"],
    }
    document = study.outcome.document.model_copy(update=changes)
    outcome: Outcome = replace(study.outcome, document=document, records=tuple(records))
    return Exporter(outcome, replace(study.bench, document=document), plan, told.append)


@dataclass(frozen=True)
class Pair:
    """Two records as flattered ones: of fewer multiply-adds, and more accurate, by their final
    accuracies `low` and `high`."""

    small: Record
    better: Record
    low: float
    high: float

    @property
    def between(self) -> float:
        """What the better one alone holds."""
        return (self.low + self.high) / 2


@pytest.fixture
def pair(study: Study, by_size: list[Record]) -> Pair:
    """The better one has the larger one's number."""
    small, large = by_size
    low = final_accuracy(study, small)
    better, high = more_accurate(study, large, low)
    return Pair(flattered(small), better, low, high)


@pytest.fixture
def by_size(study: Study) -> list[Record]:
    """Two records; the first has fewer multiply-adds."""
    small, large = sorted(study.outcome.feasible, key=lambda record: record.metrics["macs"])
    return [small, large]


def test_the_best_is_passed_over_where_it_is_not_accurate_enough_on_the_final_samples(
    study: Study, pair: Pair, tmp_path: Path
) -> None:
    told: list[str] = []
    bundle = exporter(study, [pair.small, pair.better], pair.between, told).export(
        tmp_path / "best"
    )
    assert bundle.result["trial"] == pair.better.number
    assert bundle.result["accuracy"] == pytest.approx(pair.high)
    assert [c["holds"] for c in bundle.result["constraints"]] == [True]
    name = f"trial-{pair.small.number:05d}"
    assert bundle.result["choice"]["passed_over"].keys() == {name}
    assert any(line.startswith(f"on the final samples {name} misses") for line in told)
    assert (bundle.folder / "logs" / "passed-over" / name).is_dir()


def test_where_none_is_accurate_enough_the_first_choice_is_exported_and_told(
    study: Study, by_size: list[Record], tmp_path: Path
) -> None:
    told: list[str] = []
    records = [flattered(record) for record in by_size]
    bundle = exporter(study, records, 0.99, told).export(tmp_path / "best")
    small, large = by_size
    assert bundle.result["trial"] == small.number
    assert bundle.result["accuracy"] == pytest.approx(final_accuracy(study, small))
    assert [c["holds"] for c in bundle.result["constraints"]] == [False]
    assert bundle.result["choice"]["passed_over"].keys() == {f"trial-{large.number:05d}"}
    assert any("none of 2 holds on the final samples; search on" in line for line in told)
    assert (bundle.folder / "logs" / "accuracy").is_dir()


def test_where_none_of_the_best_few_is_accurate_enough_the_next_best_of_the_study_is_looked_at(
    study: Study, pair: Pair, tmp_path: Path
) -> None:
    candidate = pair.small.candidate
    assert candidate is not None
    engine = replace(candidate.engine, batch_size=candidate.engine.batch_size + 1)
    again = replace(pair.small, candidate=replace(candidate, engine=engine), number=98)
    told: list[str] = []
    plan = replace(PLAN, top=1)
    records = [pair.small, again, pair.better]
    bundle = exporter(study, records, pair.between, told, plan).export(tmp_path / "best")
    assert bundle.result["trial"] == pair.better.number
    assert bundle.result["accuracy"] == pytest.approx(pair.high)
    # The same network answers alike whatever its batch size: it was not run again.
    assert [line for line in told if line.startswith("final accuracy of trial")] == [
        f"final accuracy of trial-{pair.small.number:05d}",
        f"final accuracy of trial-{pair.better.number:05d}",
    ]
    rounds = bundle.result["rounds"]["values"]
    assert (
        len(rounds[f"trial-{pair.better.number:05d}"]["Offline.samples_per_second"]) == plan.rounds
    )
    assert len(rounds["baseline"]["Offline.samples_per_second"]) == 2 * plan.rounds
    assert {c["holds"] for c in bundle.result["constraints"]} == {True}


def test_a_next_best_that_cannot_be_made_ready_is_told_and_left_out(
    study: Study, pair: Pair, tmp_path: Path
) -> None:
    candidate = pair.better.candidate
    assert candidate is not None
    engine = replace(candidate.engine, batch_size=10**8)  # no machine has room for it
    broken = replace(pair.better, candidate=replace(candidate, engine=engine), number=97)
    told: list[str] = []
    records = [pair.small, broken, replace(pair.better, number=98)]
    plan = replace(PLAN, top=1)
    bundle = exporter(study, records, pair.between, told, plan).export(tmp_path / "best")
    assert bundle.result["trial"] == 98
    assert any(line.startswith("trial 97 is out: ") for line in told)
