"""What the workers of a candidate are asked for."""

from dataclasses import replace

import pytest

from autosinian.evaluate.jobs import Jobs
from autosinian.measure import Job
from autosinian.search.workbench import Workbench
from autosinian.space.candidate import Candidate, EngineConfig


@pytest.fixture
def jobs(bench: Workbench) -> Jobs:
    evaluator = bench.evaluator
    return Jobs(
        evaluator.networks, evaluator.arrays, bench.engine, (), evaluator.spec, bench.folder
    )


def served(candidate: Candidate, batch_size: int, streams: int) -> Candidate:
    options = dict(candidate.engine.options) | {"streams": streams}
    return replace(candidate, engine=EngineConfig.make("openvino", batch_size, **options))


def streams_of(job: Job) -> int:
    return int(job.engine["options"]["streams"])


# There are 100 samples to search on.
@pytest.mark.parametrize(
    ("batch_size", "streams", "expected"),
    [(1, 4, 4), (13, 4, 4), (25, 4, 2), (50, 2, 1), (64, 2, 1), (1000, 2, 1), (16, 1, 1)],
)
def test_accuracy_is_judged_by_no_more_streams_than_have_two_batches_each(
    jobs: Jobs, bench: Workbench, smallest: Candidate, batch_size: int, streams: int, expected: int
) -> None:
    candidate = served(smallest, batch_size, streams)
    job = jobs.accuracy(candidate, bench.folder / "engine", "search", "run")
    assert streams_of(job) == expected
    assert {**job.engine, "options": None} == {
        **candidate.to_dict()["engine"],
        "options": None,
    }
    assert {name: v for name, v in job.engine["options"].items() if name != "streams"} == {
        name: v for name, v in candidate.engine.options if name != "streams"
    }


def test_a_part_is_judged_by_as_few_streams_as_its_samples_need(
    jobs: Jobs, bench: Workbench, smallest: Candidate
) -> None:
    job = jobs.accuracy_of_a_part(served(smallest, 6, 4), bench.folder / "engine", "run")
    assert streams_of(job) == 1


def test_performance_is_measured_with_all_streams(
    jobs: Jobs, bench: Workbench, smallest: Candidate
) -> None:
    candidate = served(smallest, 64, 4)
    job = jobs.performance(candidate, bench.folder / "engine", "Offline", "run")
    assert streams_of(job) == 4
