"""A real study of a very small supernet with random weights, and the bundle of its best."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from autosinian.export.bundle import Bundle
from autosinian.export.exporter import Exporter, Plan
from autosinian.report.live import LiveView
from autosinian.search.outcome import Outcome
from autosinian.search.run import Beginning, Limits, Search
from autosinian.search.space_file import read_space
from autosinian.search.storage import open_storage, storage_url
from autosinian.search.workbench import Workbench, open_workbench
from autosinian.store.patience import Patience
from autosinian.supernet.families import SupernetConfig, build_supernet
from autosinian.supernet.supernet import FORMAT

STUDY = "tiny"
SPACE = """\
supernet: tiny.pt
data: {name: fashion_mnist}
engine: openvino
scenarios: [Offline, SingleStream]
objectives: [accuracy, Offline.samples_per_second]
constraints: [macs <= reference]
quantization: {precision: [int8], calibration: [minmax]}
serving: {batch_size: {low: 2, high: 16}}
measurement:
  min_duration_s: 0.1
  search_samples: 100
  calibration_samples: 32
  batch_norm_samples: 64
  validation_samples: 120
"""
PLAN = Plan(top=1, rounds=2, seconds=0.1, final_seconds=0.15)


@dataclass(frozen=True)
class Study:
    """A finished study with everything opened, and where it lies."""

    folder: Path
    bench: Workbench
    outcome: Outcome


@pytest.fixture(scope="package")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Two trials beside the baseline, searched from a folder of their own, which stays current."""
    folder = tmp_path_factory.mktemp("export")
    before = Path.cwd()
    os.chdir(folder)
    # The lock that lets one search measure at a time lies there: no other process shall wait.
    tempfile.tempdir = str(folder)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = SupernetConfig("proxyless", 0.25, (3,), (3,), (2, 3), (), 10)
    checkpoint = {
        "format": FORMAT,
        "supernet": config.to_dict(),
        "resolutions": [16],
        "data": {"mean": [0.28] * 3, "std": [0.35] * 3},
        "state_dict": build_supernet(config).state_dict(),
    }
    torch.save(checkpoint, "tiny.pt")
    (folder / "space.yaml").write_text(SPACE)
    url = storage_url(STUDY, None)
    open_storage(url)
    bench = open_workbench(read_space(folder / "space.yaml"), STUDY, url)
    with LiveView(STUDY) as view:
        outcome = Search(bench, STUDY, url, view, Beginning(sampler="random"), Patience()).run(
            Limits(2)
        )
    yield Study(folder, bench, outcome)
    tempfile.tempdir = None
    os.chdir(before)


@pytest.fixture(scope="package")
def told() -> list[str]:
    """What the export of `bundle` said."""
    return []


@pytest.fixture(scope="package")
def bundle(study: Study, told: list[str]) -> Bundle:
    """The bundle of the study's best; not to be changed."""
    exporter = Exporter(study.outcome, study.bench, PLAN, told.append)
    return exporter.export(study.folder / "best")
