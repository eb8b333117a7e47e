"""A bench with a very small supernet, a real engine and LoadGen."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from autosinian.search.space_file import read_space
from autosinian.search.workbench import Workbench, open_workbench
from autosinian.space.candidate import Candidate, Quantization
from tests.search.conftest import SPACE, write_checkpoint

SCENARIOS = "scenarios: [Offline, SingleStream]\nobjectives: [accuracy, Offline.samples_per_second]"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Everything opened, in a folder of its own."""
    folder = tmp_path_factory.mktemp("evaluator")
    write_checkpoint(folder / "tiny.pt")
    text = SPACE.replace("objectives: [accuracy, samples_per_second]", SCENARIOS)
    (folder / "tiny.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        there.setattr("tempfile.tempdir", str(folder))
        opened = open_workbench(read_space(folder / "tiny.yaml"), "tiny", "sqlite:///tiny.db")
        yield opened
        opened.store.close()


@pytest.fixture(scope="module")
def smallest(bench: Workbench) -> Candidate:
    """The smallest subnet in int8, eight images at once."""
    baseline = bench.space.baseline()
    return replace(
        baseline,
        subnet=bench.network.smallest(16),
        quantization=Quantization("int8", "minmax"),
        engine=replace(baseline.engine, batch_size=8),
    )
