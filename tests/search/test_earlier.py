"""What earlier studies found is read, ordered and tried first."""

from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.search.earlier import (
    Earlier,
    candidates_to_try,
    find_earlier,
    read_all_earlier,
    read_earlier,
)
from autosinian.search.judge import Judge
from tests.search.studies import (
    ask,
    evaluation,
    figures,
    keep_baseline,
    open_small_study,
    tell,
    url_of,
)
from tests.space.small_supernet import TEXT, SmallSupernet, small_space

SPACE = small_space()


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    study, store = open_small_study(SPACE, tmp_path, name="first", kind="random")
    keep_baseline(study, SPACE, figures(SPACE.baseline()))
    judge = Judge(SPACE.document, {"accuracy": 0.5})
    for _ in range(5):
        trial, candidate = ask(study, SPACE)
        tell(study, trial, candidate, figures(candidate), judge)
        store.finish(candidate.key)
    ask(study, SPACE)  # still running
    return tmp_path


def test_the_finished_trials_of_a_study_are_read(searched: Path) -> None:
    found = read_earlier("first", url_of(searched))
    assert [e.number for e in found] == [0, 1, 2, 3, 4]
    assert all(e.metrics == figures(e.candidate).metrics for e in found)
    assert {e.study for e in found} == {"first"}
    assert {e.network for e in found} == {"0" * 64}


def test_studies_of_the_same_network_are_found_in_one_storage(searched: Path) -> None:
    other = small_space(TEXT, SmallSupernet(sha256="1" * 64))
    open_small_study(other, searched, name="other network")
    study, _ = open_small_study(SPACE, searched, name="second", kind="random")
    trial, candidate = ask(study, SPACE)
    tell(study, trial, candidate, figures(candidate), Judge(SPACE.document, {"accuracy": 0.5}))
    found = read_all_earlier(url_of(searched), "0" * 64, but="third")
    assert {e.study for e in found} == {"first", "second"}
    assert {e.study for e in read_all_earlier(url_of(searched), "0" * 64, but="first")} == {
        "second"
    }


def test_a_study_that_is_nowhere_is_refused(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    assert find_earlier("first", url_of(searched))
    with pytest.raises(InputError, match=r"no `studies/absent\.db`"):
        find_earlier("absent", url_of(searched))


def entry(study: str, number: int, accuracy: float, rate: float, reason: str = "") -> Earlier:
    candidate = SPACE.warm_start()[number]
    return Earlier(study, number, candidate, evaluation(accuracy, rate), reason, "0" * 64, "gpu")


def test_fronts_come_first_and_studies_take_turns() -> None:
    metrics = SPACE.document.metrics
    earlier = [
        entry("a", 0, 0.80, 100),  # dominated
        entry("a", 1, 0.90, 200),
        entry("a", 2, 0.95, 150),
        entry("a", 3, 0.99, 900, reason="`macs` missed"),
        entry("b", 4, 0.10, 1),
    ]
    numbers = {e.candidate.key: e.number for e in earlier}
    found = candidates_to_try(earlier, SPACE, metrics, most=10)
    assert [numbers[c.key] for c in found] == [1, 4, 2, 0]
    assert len(candidates_to_try(earlier, SPACE, metrics, most=2)) == 2


def test_a_candidate_outside_the_space_is_tried_as_the_nearest_within() -> None:
    narrow = small_space(TEXT.replace("high: 64, log: true", "high: 2"))
    found = candidates_to_try([entry("a", 1, 0.9, 200)], narrow, SPACE.document.metrics, most=3)
    assert len(found) == 1
    assert found[0].engine.batch_size <= 2
    assert found[0].subnet == SPACE.warm_start()[1].subnet


def test_a_candidate_of_another_family_is_passed_over() -> None:
    one = entry("a", 1, 0.9, 200)
    small = small_space(TEXT, SmallSupernet(stages=1, blocks=1))
    larger = candidates_to_try([one], SPACE, SPACE.document.metrics, most=3)
    assert larger == [one.candidate]
    foreign = Earlier("b", 0, small.baseline(), one.evaluation, "", "1" * 64, "gpu")
    assert candidates_to_try([foreign], SPACE, SPACE.document.metrics, most=3) == []
