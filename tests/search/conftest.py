"""A very small supernet, spaces over it, and `autosinian search` as a process of its own."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.storage import load_study
from autosinian.supernet import FORMAT, SupernetConfig
from autosinian.supernet.families import build_supernet

REPOSITORY = Path(__file__).parents[2]
SPACE = """\
supernet: tiny.pt
data: {name: fashion_mnist}
engine: openvino
objectives: [accuracy, samples_per_second]
constraints: [macs <= reference]
quantization: {precision: [fp32, int8]}
serving: {batch_size: {low: 1, high: 16}}
measurement:
  min_duration_s: 0.1
  search_samples: 100
  calibration_samples: 32
  batch_norm_samples: 64
  time_limit_s: 60
trials: 4
"""


def write_checkpoint(path: Path, *, depths: tuple[int, ...] = (1, 2), seed: int = 0) -> None:
    """Random weights of a ProxylessNAS supernet for ten classes of 16 x 16 images."""
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = SupernetConfig("proxyless", 0.1, (3,), (3,), depths, (), 10)
        state = build_supernet(config).state_dict()
    checkpoint = {
        "format": FORMAT,
        "supernet": config.to_dict(),
        "resolutions": [16],
        "data": {"mean": [0.28] * 3, "std": [0.35] * 3},
        "state_dict": state,
    }
    torch.save(checkpoint, path)


@dataclass(frozen=True)
class Desk:
    """A folder where `autosinian search tiny.yaml` is run."""

    folder: Path

    @property
    def database(self) -> Path:
        """The study's database."""
        return self.folder / "studies" / "tiny.db"

    def write_space(self, text: str = SPACE) -> None:
        """Write the search space file."""
        (self.folder / "tiny.yaml").write_text(text)

    def start(self, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a search in a process of its own."""
        command = [*launcher, sys.executable, "-m", "autosinian", "search", "tiny.yaml", "--json"]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(self.folder),
        )

    def outcome(self) -> Outcome:
        """The study, read back."""
        return read_outcome(load_study("tiny", f"sqlite:///{self.database}"))

    def states(self) -> list[str]:
        """The states of all trials so far, by number; none before there is a study."""
        try:
            with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
                rows = connection.execute("SELECT state FROM trials ORDER BY number").fetchall()
        except sqlite3.OperationalError:
            return []
        return [row[0] for row in rows]

    def workers(self) -> list[int]:
        """Processes that still work in this folder."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            if any(str(self.folder) in part for part in process.info["cmdline"] or []):
                found.append(process.info["pid"])
        return found


@dataclass(frozen=True)
class Ended:
    """What a finished process left."""

    code: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of stdout, which is the study's summary."""
        value: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return value


def environment(folder: Path) -> dict[str, str]:
    """For a process that imports this package and these tests from any folder.

    Its temporary files have a place of their own, and so has the lock that searches wait for.
    """
    return os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "NO_COLOR": "1",
        "TMPDIR": str(folder),
    }


def end(process: subprocess.Popen[str], timeout_s: float = 120) -> Ended:
    """Wait for a process; it is killed where it takes too long."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"not ended after {timeout_s} s: {stderr[-2000:]}") from None
    return Ended(process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny supernet for all tests."""
    path = tmp_path_factory.mktemp("supernet") / "tiny.pt"
    write_checkpoint(path)
    return path


@pytest.fixture
def desk(tmp_path: Path, checkpoint: Path) -> Desk:
    """A fresh folder with the supernet and the space."""
    shutil.copy(checkpoint, tmp_path / "tiny.pt")
    fresh = Desk(tmp_path)
    fresh.write_space()
    return fresh


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Desk, Ended]:
    """A study of four trials, searched by the command itself; not to be changed."""
    done = Desk(tmp_path_factory.mktemp("finished"))
    shutil.copy(checkpoint, done.folder / "tiny.pt")
    done.write_space()
    return done, end(done.start())


@pytest.fixture
def copied(finished: tuple[Desk, Ended], tmp_path: Path) -> Desk:
    """A copy of the finished study, to go on with."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0].folder, folder)
    return Desk(folder)
