"""Studies that several tests read; made once, because each trial is a dozen transactions."""

from pathlib import Path

import pytest

from autosinian.search.outcome import Outcome
from tests.report.example_study import make_outcome


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """24 trials: feasible, refused by a constraint, crashed, interrupted."""
    return make_outcome(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A study whose texts try to be markup."""
    return make_outcome(tmp_path_factory.mktemp("hostile"), trials=10, hostile=True)


@pytest.fixture
def empty(tmp_path: Path) -> Outcome:
    """A study before its baseline."""
    return make_outcome(tmp_path, trials=0, baseline=False)
