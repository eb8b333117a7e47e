import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autosinian.errors import InputError
from autosinian.search.judge import Judge
from autosinian.search.sampler import DistinctSampler
from autosinian.search.strategy.joint import SpaceExhausted
from autosinian.space.candidate import Candidate
from autosinian.space.space import Space
from autosinian.store import Store
from tests.search.studies import ask, figures, open_small_study, tell, url_of
from tests.space.small_supernet import TEXT, SmallSupernet, small_space

TINY = SmallSupernet(1, 2, (1, 2), (3,), (3,), (28,))
TINY_TEXT = TEXT.replace("{low: 1, high: 64, log: true}", "[1, 2]")
# 2 depths x (fp32, int8 minmax, int8 entropy) x 2 batch sizes x 2 streams
TINY_SIZE = 2 * 3 * 2 * 2


def run_trials(space: Space, folder: Path, count: int, seed: int = 0) -> list[Candidate]:
    study, store = open_small_study(space, folder, first=space.warm_start(), seed=seed)
    judge = Judge(space.document, {"accuracy": 0.5})
    found = []
    for _ in range(count):
        trial, candidate = ask(study, space)
        tell(study, trial, candidate, figures(candidate), judge)
        store.finish(candidate.key)
        found.append(candidate)
    return found


def test_no_candidate_is_proposed_twice(tmp_path: Path) -> None:
    found = run_trials(small_space(), tmp_path, 40)
    assert len({c.key for c in found}) == 40


def test_no_candidate_of_a_nearly_exhausted_space_is_proposed_twice(tmp_path: Path) -> None:
    # 2 depths x (fp32, int8 minmax, int8 entropy) x 18 batch sizes x 2 streams = 216
    space = small_space(TEXT.replace("high: 64, log: true", "high: 18"), TINY)
    study, _ = open_small_study(space, tmp_path, kind="random")
    found = set()
    for _ in range(200):
        trial, candidate = ask(study, space)
        study.tell(trial, state=TrialState.FAIL)
        found.add(candidate.key)
    assert len(found) == 200


def test_the_warm_start_comes_first_and_in_order(tmp_path: Path) -> None:
    space = small_space()
    first = [space.baseline(), *space.warm_start()]
    study, _ = open_small_study(space, tmp_path, first=first)
    assert [ask(study, space)[1] for _ in first] == first


def test_an_exhausted_space_ends_and_leaves_no_running_trial(tmp_path: Path) -> None:
    space = small_space(TINY_TEXT, TINY)
    study, store = open_small_study(space, tmp_path)
    judge = Judge(space.document, {"accuracy": 0.5})
    found = set()
    with pytest.raises(SpaceExhausted) as end:
        for _ in range(TINY_SIZE + 1):
            trial, candidate = ask(study, space)
            tell(study, trial, candidate, figures(candidate), judge)
            store.finish(candidate.key)
            found.add(candidate.key)
    assert len(found) == TINY_SIZE
    assert end.value.trial == TINY_SIZE
    study.tell(end.value.trial, state=TrialState.FAIL)
    assert not [t for t in study.get_trials() if t.state == TrialState.RUNNING]


def test_a_released_candidate_is_proposed_before_any_new_one(tmp_path: Path) -> None:
    space = small_space()
    study, store = open_small_study(space, tmp_path)
    asked = [ask(study, space) for _ in range(4)]
    store.release(asked[2][1].key)
    study.tell(asked[2][0], state=TrialState.FAIL)
    again, _ = open_small_study(space, tmp_path)
    assert ask(again, space)[1] == asked[2][1]
    assert ask(again, space)[1] not in [candidate for _, candidate in asked]


def test_the_same_seed_proposes_the_same(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    one, same = (run_trials(small_space(), folder, 14, 7) for folder in folders[:2])
    other = run_trials(small_space(), folders[2], 14, 8)
    assert one == same
    assert one != other


def test_a_resumed_study_continues_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    space = small_space()
    assert run_trials(space, whole, 16) == run_trials(space, parts, 7) + run_trials(space, parts, 9)


ASKER = """
import sys
from pathlib import Path
from tests.search.studies import ask, open_small_study
from tests.space.small_supernet import small_space
space = small_space()
study, _ = open_small_study(space, Path(sys.argv[1]), first=space.warm_start(), kind="random")
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    print(ask(study, space)[1].key, flush=True)
sys.stdin.readline()
"""


def test_two_processes_never_propose_the_same_and_a_killed_one_gives_back(tmp_path: Path) -> None:
    space = small_space()
    open_small_study(space, tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER, str(tmp_path), "12"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    found = []
    for process in processes:
        assert process.stdout is not None
        found.append([process.stdout.readline().strip() for _ in range(13)][1:])
        assert process.poll() is None
    assert len(set(found[0] + found[1])) == 24
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    store = Store(url_of(tmp_path), "study")
    assert {c.candidate for c in store.stale()} == set(found[0] + found[1])


def test_a_space_without_choices_has_one_candidate(tmp_path: Path) -> None:
    supernet = SmallSupernet(1, 1, (1,), (3,), (3,), (28,))
    text = TEXT.replace("{low: 1, high: 64, log: true}", "4").replace("high: 2}", "high: 1}")
    space = small_space(text.replace("[fp32, int8]", "[fp32]"), supernet)
    study, _ = open_small_study(space, tmp_path, first=space.warm_start())
    ask(study, space)
    with pytest.raises(SpaceExhausted):
        ask(study, space)


def test_an_unknown_kind_of_sampler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="must be one of joint, tpe, nsga2, gp, random, but got `grid`"
    ):
        DistinctSampler(small_space(), Store(url_of(tmp_path), "x"), [], kind="grid")
