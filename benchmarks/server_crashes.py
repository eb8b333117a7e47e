"""Crash the PostgreSQL server of running searches, again and again, and look for what was lost.

    python benchmarks/server_crashes.py --crashes 100 --output benchmarks/results/server_crashes.csv

Some processes add trials to one study through the storage, the claims and the order of writing that
a search uses (see `study_throughput`, whose cheap measurement is taken). At random moments the
server goes: it is stopped without a last word and started again a little later, or one of its
processes is killed with SIGKILL, upon which it cuts every connection and recovers. Then:

- every process has added all its trials, and none ended early;
- each told once that it paused and once that it went on, as often as it was cut;
- no candidate was finished twice, no trial is left running, no claim open, no number missing.

Exit code 1 where something is not so. The server is one of this script's own.
"""

import argparse
import datetime
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import psutil

from autosinian import __version__
from autosinian.engine.processor import processor_name, usable_cores
from autosinian.search.ledger import Ledger
from autosinian.search.outcome import read_outcome
from autosinian.search.parameters import distributions
from autosinian.search.sampler import DistinctSampler
from autosinian.search.storage import load_study, open_storage, open_study
from autosinian.space.document import parse_document
from autosinian.space.space import Space
from autosinian.store import Store
from autosinian.store.patience import Patience
from autosinian.supernet import open_supernet
from autosinian.testing.postgresql import TemporaryServer, find_binaries, server_version
from study_throughput import REPOSITORY, SPACE, STUDY, measure
from verdict import tell

PATIENCE_S = 120.0


def work(url: str, folder: Path) -> None:
    """One process: add trials until the file `stop` is there."""
    document = parse_document(SPACE, "space")
    assert document.supernet is not None
    space = Space(document, open_supernet(document.supernet), (), ("fp32",))
    patience = Patience(PATIENCE_S, lambda text: print(text, flush=True))
    store = Store(url, STUDY, patience)
    sampler = DistinctSampler(space, store, [], seed=os.getpid(), kind="random")
    storage = open_storage(url, database=store.database)
    study = open_study(STUDY, storage, sampler, document, space.fingerprint())
    ledger, dimensions = Ledger(study, store, space, folder), distributions(space)
    ledger.keep_baseline(measure(space.baseline()))
    added = 0
    while not (folder / "stop").exists():
        ledger.sweep()
        trial = study.ask(dimensions)
        candidate = space.decode(trial.params)
        ledger.begin(trial, candidate)
        ledger.tell(trial, candidate, measure(candidate))
        added += 1
    print(f"added {added}", flush=True)


def crash(server: TemporaryServer, rng: random.Random) -> str:
    """Let the server go, in one way or the other."""
    assert server.process is not None
    backends = psutil.Process(server.process).children()
    if rng.random() < 0.5 and backends:
        rng.choice(backends).send_signal(signal.SIGKILL)
        return "process"
    server.stop(crash=True)
    time.sleep(rng.uniform(0.0, 0.5))
    server.start()
    return "server"


def complaints(url: str, added: int, told: list[list[str]]) -> list[str]:
    """Everything that is not as it must be, in words."""
    records = read_outcome(load_study(STUDY, url)).records
    found = []
    finished = Counter(r.candidate.key for r in records if r.feasible and r.candidate is not None)
    found += [f"{key} was finished {count} times" for key, count in finished.items() if count > 1]
    if sum(finished.values()) != added:
        found.append(f"{added} trials were told, {sum(finished.values())} are there")
    found += [f"trial {r.number} is {r.state}" for r in records if not r.feasible]
    if [r.number for r in records] != list(range(len(records))):
        found.append("the numbers of the trials have gaps")
    claims = Counter(claim.state for claim in Store(url, STUDY).claims())
    if set(claims) - {"done"}:
        found.append(f"the claims are {dict(claims)}")
    for lines in told:
        kinds = [line.split(":")[0].split(" after")[0] for line in lines]
        if kinds != ["paused", "going on"] * (len(kinds) // 2):
            found.append(f"told was {kinds}")
    return found


def main() -> int:
    """Run it; prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crashes", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--pause", type=float, default=1.5, help="most seconds between two crashes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        work(arguments.work, Path.cwd())
        return 0
    if find_binaries() is None:
        sys.exit("server_crashes: a PostgreSQL server must be installed (Debian: postgresql)")
    rng, begin = random.Random(arguments.seed), time.monotonic()
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place, TemporaryServer() as server:
        folder, crashes = Path(place), Counter[str]()
        command = [sys.executable, str(Path(__file__).resolve()), "--work", server.url]
        workers = [
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(arguments.processes)
        ]
        try:
            while not _trials(server.url):
                time.sleep(0.2)
                assert all(w.poll() is None for w in workers), [w.communicate() for w in workers]
            while sum(crashes.values()) < arguments.crashes:
                time.sleep(rng.uniform(0.0, arguments.pause))
                crashes[crash(server, rng)] += 1
                print(f"{sum(crashes.values())} of {arguments.crashes}", file=sys.stderr)
            (folder / "stop").touch()
            ended = [worker.communicate(timeout=2 * PATIENCE_S) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        found = [f"a process ended: {errors[-2000:]}" for _, errors in ended if errors]
        lines = [[line for line in out.splitlines() if line] for out, _ in ended]
        added = sum(int(told[-1].removeprefix("added ")) for told in lines if told)
        pauses = [told[:-1] for told in lines]
        found += complaints(server.url, added, pauses)
    row = {
        "date": datetime.date.today().isoformat(),
        "device": processor_name(),
        "cores": usable_cores(),
        "autosinian": __version__,
        "optuna": version("optuna"),
        "sqlalchemy": version("sqlalchemy"),
        "server": server_version(),
        "processes": arguments.processes,
        "pause_s": arguments.pause,
        "seed": arguments.seed,
        "crashes": sum(crashes.values()),
        "servers_stopped": crashes["server"],
        "server_processes_killed": crashes["process"],
        "seconds": round(time.monotonic() - begin, 1),
        "trials": added,
        "pauses_told": sum(len(told) // 2 for told in pauses),
        "complaints": len(found),
    }
    return tell(row, found, arguments.output)


def _trials(url: str) -> int:
    """How many there are; 0 before there is a study."""
    try:
        return len(load_study(STUDY, url).get_trials(deepcopy=False))
    except Exception:  # noqa: BLE001  (its tables are being made)
        return 0


if __name__ == "__main__":
    sys.exit(main())
