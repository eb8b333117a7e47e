"""Kill a real search at random moments, again and again, and look for what was lost.

    python benchmarks/kill_test.py --kills 100 --output benchmarks/results/kill_test.csv

Some `autosinian search` processes share one study of a tiny supernet with random weights (real
engine, real LoadGen). At random moments a process is killed with SIGKILL: a search or one of its
workers. A killed search is started again. In the end one search ends the study in peace. Then:

- every trial that was ever seen finished is there, with the same figures;
- every measurement that was kept on disk is in the study;
- no candidate was finished twice, no trial is left running, no claim is left open;
- no process is left; the database is whole and the study can be read.

Exit code 1 where something is not so.
"""

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from autosinian import __version__
from autosinian.engine.processor import processor_name, usable_cores
from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.storage import load_study
from autosinian.store import Store
from autosinian.supernet import FORMAT, SupernetConfig
from autosinian.supernet.families import build_supernet
from verdict import tell

REPOSITORY = Path(__file__).resolve().parents[1]
STUDY = "killed"
SPACE = """\
supernet: tiny.pt
data: {name: fashion_mnist}
engine: openvino
objectives: [accuracy, samples_per_second]
constraints: [macs <= reference]
quantization: {precision: [fp32, int8]}
serving: {batch_size: {low: 1, high: 64}}
measurement:
  min_duration_s: 0.1
  search_samples: 64
  calibration_samples: 16
  batch_norm_samples: 32
  time_limit_s: 60
trials: 100000
"""
LAST_TRIALS = 2
"""Trials that the last search adds in peace."""

ORPHANS_END_S = 10.0
LIMIT_S = 300.0


@dataclass
class Seen:
    """What was finished at some moment, by trial number: state, values, candidate."""

    finished: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def look(self, outcome: Outcome) -> None:
        """Compare with what is there now, and add it."""
        now = {
            r.number: (r.state, json.dumps(r.metrics), r.candidate.key if r.candidate else "")
            for r in outcome.records
            if r.state in ("measured", "infeasible")
        }
        for number, was in self.finished.items():
            if now.get(number) != was:
                self.complaints.append(f"trial {number} was {was}, is {now.get(number)}")
        self.finished |= now


class Bench:
    """A folder with a study, and the searches that run there."""

    def __init__(self, folder: Path, searches: int) -> None:
        self.folder = folder
        self.searches: list[subprocess.Popen[bytes]] = []
        self._count = searches
        self._write_checkpoint()
        (folder / "space.yaml").write_text(SPACE)

    @property
    def url(self) -> str:
        """The study's storage."""
        return f"sqlite:///{self.folder / 'studies' / STUDY}.db"

    def keep_running(self) -> None:
        """Start searches where some have ended."""
        self.searches = [p for p in self.searches if p.poll() is None]
        while len(self.searches) < self._count:
            self.searches.append(self.start())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """One search process."""
        log = (self.folder / "log.txt").open("ab")
        environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "NO_COLOR": "1",
            "TMPDIR": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "autosinian", "search", "space.yaml", "--study", STUDY]
        with log:
            return subprocess.Popen(
                [*command, *arguments], cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def workers(self) -> list[int]:
        """Processes below the searches."""
        found = []
        for process in self.searches:
            try:
                found += [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return found

    def processes(self) -> list[int]:
        """Processes that work in this folder, whoever their parent is."""
        found = []
        for process in psutil.process_iter(["pid", "cwd", "status"]):
            is_here = process.info["cwd"] == str(self.folder)
            if is_here and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.info["pid"])
        return found

    def outcome(self) -> Outcome | None:
        """The study as it is now; None before there is one."""
        if not (self.folder / "studies" / f"{STUDY}.db").exists():
            return None
        try:
            return read_outcome(load_study(STUDY, self.url))
        except Exception as error:
            if "no study" in str(error) or "was not made by" in str(error):
                return None
            raise SystemExit(f"the study cannot be read: {error}") from error

    def _write_checkpoint(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        config = SupernetConfig("proxyless", 0.1, (3,), (3,), (1, 2), (), 10)
        torch.save(
            {
                "format": FORMAT,
                "supernet": config.to_dict(),
                "resolutions": [16],
                "data": {"mean": [0.28] * 3, "std": [0.35] * 3},
                "state_dict": build_supernet(config).state_dict(),
            },
            self.folder / "tiny.pt",
        )


def kill_at_random(
    bench: Bench, kills: int, rng: random.Random, search_share: float, pause_s: float, seen: Seen
) -> Counter[str]:
    """Kill `kills` processes, up to `pause_s` apart; returns how many of which kind."""
    killed: Counter[str] = Counter()
    begin = time.monotonic()
    while (outcome := bench.outcome()) is None or outcome.baseline is None:
        bench.keep_running()
        time.sleep(0.2)
        if time.monotonic() - begin > LIMIT_S:
            raise SystemExit(f"no baseline: {(bench.folder / 'log.txt').read_text()[-2000:]}")
    while sum(killed.values()) < kills:
        bench.keep_running()
        time.sleep(rng.uniform(0.0, pause_s))
        kind = "search" if rng.random() < search_share else "worker"
        pids = [p.pid for p in bench.searches if p.poll() is None]
        if kind == "worker":
            begin = time.monotonic()
            while not (pids := bench.workers()) and time.monotonic() - begin < LIMIT_S:
                bench.keep_running()
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.3))
        try:
            os.kill(rng.choice(pids), signal.SIGKILL)
        except (ProcessLookupError, IndexError):
            continue  # it ended by itself just before
        killed[kind] += 1
        outcome = bench.outcome()
        if outcome is not None:
            seen.look(outcome)
        done = len(seen.finished)
        print(f"{sum(killed.values())} of {kills} kills, {done} finished", file=sys.stderr)
    return killed


def end_in_peace(bench: Bench, seen: Seen) -> None:
    """Kill what runs, then let one search sweep, add a few trials and end."""
    for process in bench.searches:
        process.kill()
        process.wait()
    begin = time.monotonic()
    while bench.processes() and time.monotonic() - begin < ORPHANS_END_S:
        time.sleep(0.1)
    seen.complaints += [f"process {pid} outlived its search" for pid in bench.processes()]
    target = len(seen.finished)
    begin = time.monotonic()
    while True:
        # Trials that were being proposed when their process died are swept after half a minute.
        target += LAST_TRIALS
        code = bench.start("--trials", str(target)).wait(LIMIT_S)
        if code != 0:
            log = (bench.folder / "log.txt").read_text()[-2000:]
            seen.complaints.append(f"the last search ended with exit code {code}: {log}")
            return
        outcome = bench.outcome()
        assert outcome is not None
        seen.look(outcome)
        target = len(seen.finished)
        if all(r.state != "running" for r in outcome.records):
            return
        if time.monotonic() - begin > LIMIT_S:
            seen.complaints.append("trials are left running")
            return
        time.sleep(5.0)


def complaints(bench: Bench, seen: Seen) -> list[str]:
    """Everything that is not as it must be, in words."""
    found = list(seen.complaints)
    outcome = bench.outcome()
    assert outcome is not None
    keys = Counter(key for _, _, key in seen.finished.values())
    found += [f"candidate {key} was finished {n} times" for key, n in keys.items() if n > 1]
    for path in sorted((bench.folder / "studies" / STUDY / "runs").glob("*/evaluation.json")):
        kept = json.loads(path.read_text())
        if kept["candidate"] not in keys:
            found.append(f"the measurement of `{path.parent.name}` is not in the study")
    claims = Store(bench.url, STUDY).claims()
    found += [f"claim of trial {c.trial} is still open" for c in claims if c.state == "running"]
    with sqlite3.connect(bench.folder / "studies" / f"{STUDY}.db") as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        found.append(f"the database is broken: {verdict}")
    log = (bench.folder / "log.txt").read_text()
    found += [f"the log has `{words}`" for words in ("Traceback", "is locked") if words in log]
    found += [f"process {pid} is left" for pid in bench.processes()]
    return found


def main() -> int:
    """Run it; prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--searches", type=int, default=2, help="at once (default: 2)")
    parser.add_argument("--search-share", type=float, default=0.5, help="of kills (default: 0.5)")
    parser.add_argument("--pause", type=float, default=1.5, help="most seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here and leave it")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="autosinian-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    bench, seen, start = Bench(folder.resolve(), arguments.searches), Seen(), time.monotonic()
    try:
        rng = random.Random(arguments.seed)
        killed = kill_at_random(
            bench, arguments.kills, rng, arguments.search_share, arguments.pause, seen
        )
        end_in_peace(bench, seen)
        found = complaints(bench, seen)
        outcome = bench.outcome()
        assert outcome is not None
        states = Counter(record.state for record in outcome.records)
    finally:
        for process in bench.searches:
            process.kill()
            process.wait()
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    row = {
        "date": datetime.date.today().isoformat(),
        "device": processor_name(),
        "cores": usable_cores(),
        "autosinian": __version__,
        "optuna": version("optuna"),
        "storage": "sqlite",
        "searches": arguments.searches,
        "pause_s": arguments.pause,
        "seed": arguments.seed,
        "kills": sum(killed.values()),
        "searches_killed": killed["search"],
        "workers_killed": killed["worker"],
        "seconds": round(time.monotonic() - start, 1),
        "trials": len(outcome.records),
        "finished": len(seen.finished),
        "measured": states["measured"],
        "infeasible": states["infeasible"],
        "interrupted": states["lost"],
        "complaints": len(found),
    }
    return tell(row, found, arguments.output)


if __name__ == "__main__":
    sys.exit(main())
