"""Failures that would come again rule out their neighbours, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.errors import TrialFailure
from autosinian.search.quarantine import Quarantine, Region
from autosinian.space.candidate import Candidate, EngineConfig
from autosinian.store import Store
from tests.space.small_supernet import small_space

MEMORY = [
    "the worker used 1300 MiB of memory, more than the limit 1200 MiB and was killed",
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
    "RuntimeError: CUDA_ERROR_OUT_OF_MEMORY",
    "std::bad_alloc",
    "MemoryError",
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'study.db'}", "study")


def served(batch: int, streams: int = 1, pinning: bool = True) -> Candidate:
    engine = EngineConfig.make("small", batch, streams=streams, pinning=pinning)
    return replace(small_space().baseline(), engine=engine)


@pytest.mark.parametrize("reason", MEMORY)
def test_out_of_memory_rules_out_the_same_network_at_as_large_a_batch(
    store: Store, reason: str
) -> None:
    quarantine = Quarantine(store, ["pinning"])
    quarantine.add(served(16), TrialFailure("performance", reason), 7)
    assert "trial 7" in quarantine.refuses(served(16))
    assert "trial 7" in quarantine.refuses(served(64))
    assert "trial 7" in quarantine.refuses(served(16, streams=2))
    assert quarantine.refuses(served(15)) == ""
    assert quarantine.refuses(served(16, pinning=False)) == ""
    smaller = replace(served(64), subnet=small_space().warm_start()[1].subnet)
    assert quarantine.refuses(smaller) == ""


def test_more_streams_that_ran_out_of_memory_say_nothing_of_fewer(store: Store) -> None:
    quarantine = Quarantine(store, ["pinning"])
    quarantine.add(served(16, streams=2), TrialFailure("performance", MEMORY[0]), 0)
    assert quarantine.refuses(served(64, streams=1)) == ""
    assert quarantine.refuses(served(64, streams=3))


def test_what_does_not_build_rules_out_who_shares_the_engine_file(store: Store) -> None:
    quarantine = Quarantine(store, ["pinning"])
    quarantine.add(served(16), TrialFailure("build", "no kernel for this layer"), 3)
    assert quarantine.refuses(served(16, streams=4))
    assert quarantine.refuses(served(17)) == ""
    assert quarantine.refuses(served(16, pinning=False)) == ""


def test_a_network_that_cannot_be_quantized_is_out_at_every_setting(store: Store) -> None:
    quarantine = Quarantine(store, ["pinning"])
    quarantine.add(served(1), TrialFailure("quantize", "unsupported operator"), 3)
    assert quarantine.refuses(served(64, streams=3, pinning=False))


@pytest.mark.parametrize(
    "failure",
    [
        TrialFailure("build", "killed by SIGKILL from outside", transient=True),
        TrialFailure("performance", "crashed with SIGABRT"),
        TrialFailure("performance", "took longer than the limit of 12 s"),
    ],
)
def test_a_failure_that_may_not_come_again_rules_out_nothing(
    store: Store, failure: TrialFailure
) -> None:
    quarantine = Quarantine(store, ["pinning"])
    assert quarantine.add(served(16), failure, 0) is None
    assert quarantine.regions == []


def test_other_processes_of_the_study_learn_of_it_and_other_studies_do_not(store: Store) -> None:
    other = Quarantine(store, ["pinning"])
    elsewhere = Quarantine(Store(store.url, "other"), ["pinning"])
    Quarantine(store, ["pinning"]).add(served(16), TrialFailure("build", MEMORY[0]), 0)
    assert other.refuses(served(16)) == ""
    other.refresh()
    elsewhere.refresh()
    assert other.refuses(served(16))
    assert elsewhere.refuses(served(16)) == ""


def test_the_baseline_is_never_refused(store: Store) -> None:
    quarantine = Quarantine(store, ["pinning"], [served(16).key])
    quarantine.add(served(8), TrialFailure("performance", MEMORY[0]), 0)
    assert quarantine.refuses(served(16)) == ""
    assert quarantine.refuses(served(9))


def test_a_region_survives_a_trip_through_json(store: Store) -> None:
    region = Quarantine(store, ["pinning"]).add(served(8), TrialFailure("build", MEMORY[0]), 0)
    assert region is not None
    again = Quarantine(store, ["pinning"]).regions
    assert again == [region] == [Region.from_dict(region.to_dict())]
