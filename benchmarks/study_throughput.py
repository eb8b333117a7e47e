"""How many trials a second several processes add to one study, on SQLite and on PostgreSQL.

    python benchmarks/study_throughput.py --output benchmarks/results/study_throughput.csv

Each process asks for a candidate (uniform draws, each claimed), measures it and tells the result,
through the storage, the claims and the order of writing that a search uses; only the measurement is
cheap: a matrix product of the candidate's batch and resolution, timed. Then every trial is looked
for: none lost, none twice. PostgreSQL is a server of this script's own, on the same machine, or
with `--postgresql URL` one that runs already: each run has a database of its own there, dropped
at its end, so the user of the URL must be allowed to create one.

The two storages are measured in turn, `--rounds` times, for the machine may be busy with something
else: `load` is its load average when a run begins, `cpu_s` what the run itself took of the
processors, the server's share included where it is on this machine; `file_system` is that of the
database's files, `cores` those that this process and its children may use. Timed is from the first
trial's beginning to the last one's end, not the processes' start and exit.
"""

import argparse
import csv
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import sqlalchemy as sa

from autosinian import __version__
from autosinian.engine.processor import processor_name, usable_cores
from autosinian.errors import AutosinianError
from autosinian.evaluate.evaluation import Evaluation
from autosinian.measure.measurement import Measurement
from autosinian.search.ledger import Ledger
from autosinian.search.outcome import read_outcome
from autosinian.search.parameters import distributions
from autosinian.search.sampler import DistinctSampler
from autosinian.search.storage import load_study, open_storage, open_study
from autosinian.space.candidate import Candidate
from autosinian.space.document import parse_document
from autosinian.space.space import Space
from autosinian.store import Store
from autosinian.store.database import storage_error
from autosinian.store.patience import Patience
from autosinian.supernet import open_supernet
from autosinian.testing.postgresql import TemporaryServer, find_binaries, server_version

REPOSITORY = Path(__file__).resolve().parents[1]
STUDY = "throughput"
SPACE = f"""\
supernet: {REPOSITORY / "pretrained" / "fashion_mnist.pt"}
data: {{name: fashion_mnist}}
engine: product
objectives: [samples_per_second]
constraints: [samples_per_second >= 1]
serving: {{batch_size: {{low: 1, high: 64}}}}
"""
WIDTH = 16


def measure(candidate: Candidate) -> Evaluation:
    """Samples/s of a product of `batch x 3 r r` by `3 r r x WIDTH`."""
    size = 3 * candidate.subnet.resolution**2
    left = np.ones((candidate.engine.batch_size, size), np.float32)
    right = np.ones((size, WIDTH), np.float32)
    start = time.perf_counter()
    left @ right
    rate = len(left) / (time.perf_counter() - start)
    measured = Measurement("Offline", "PerformanceOnly", valid=True, samples_per_second=rate)
    return Evaluation({"Offline.samples_per_second": rate}, complete=True, measurements=(measured,))


def work(url: str, trials: int, folder: Path) -> None:
    """One process: wait for a line on stdin, then add its share of trials."""
    document = parse_document(SPACE, "space")
    assert document.supernet is not None
    space = Space(document, open_supernet(document.supernet), (), ("fp32",))
    patience = Patience(60.0)
    store = Store(url, STUDY, patience)
    sampler = DistinctSampler(space, store, [], seed=os.getpid(), kind="random")
    storage = open_storage(url, patience=patience)
    study = open_study(STUDY, storage, sampler, document, space.fingerprint())
    ledger, dimensions = Ledger(study, store, space, folder), distributions(space)
    ledger.keep_baseline(measure(space.baseline()))
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.process_time()
    for _ in range(trials):
        trial = study.ask(dimensions)
        candidate = space.decode(trial.params)
        ledger.begin(trial, candidate)
        ledger.tell(trial, candidate, measure(candidate))
    print(time.process_time() - begin, flush=True)


@dataclass
class Run:
    """Trials per second of all processes together, what it took, and what is not as it must be."""

    rate: float
    cpu_s: float
    load: float
    server: str
    file_system: str
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Database:
    """One that is empty: its URL, its server's own process and version, where its files are."""

    url: str
    process: int | None = None
    version: str = ""
    file_system: str = ""


def run(database: Database, processes: int, trials: int, folder: Path) -> Run:
    """Trials added to one database."""
    url, server, file_system = database.url, database.process, database.file_system
    command = [sys.executable, __file__, "--work", url, "--trials", str(trials)]
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    load, before, start = os.getloadavg()[0], _cpu_of(server), time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    took = [worker.stdout.readline() for worker in workers if worker.stdout is not None]
    seconds = time.perf_counter() - start
    cpu_s = sum(float(text or "nan") for text in took) + _cpu_of(server) - before
    told = [worker.communicate()[1] for worker in workers]
    found = [text for text in told if "Traceback" in text or "is locked" in text]
    found += [f"a process ended with {w.returncode}" for w in workers if w.returncode]
    wanted = processes * trials
    records = read_outcome(load_study(STUDY, url)).records
    finished = Counter(r.candidate.key for r in records if r.feasible and r.candidate is not None)
    if sum(finished.values()) != wanted or len(records) != wanted:
        found.append(f"{wanted} trials were told, {sum(finished.values())} are there")
    found += [f"{key} is there {count} times" for key, count in finished.items() if count > 1]
    claims = Counter(claim.state for claim in Store(url, STUDY).claims())
    if claims != {"done": wanted}:
        found.append(f"the claims are {dict(claims)}")
    return Run(wanted / seconds, cpu_s, load, database.version, file_system, found)


def _cpu_of(server: int | None) -> float:
    """Seconds of processor time of a process and those it has started."""
    if server is None:
        return 0.0
    process = psutil.Process(server)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    own = process.cpu_times()
    return total + own.children_user + own.children_system


def main() -> int:
    """Run it; prints a line for each storage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--trials", type=int, default=100, help="of each process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--time", type=float, default=float("inf"), help="begin no run after (s)")
    parser.add_argument(
        "--postgresql", metavar="URL", help="a server that runs already, in place of an own one"
    )
    parser.add_argument("--output", type=Path)
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        work(arguments.work, arguments.trials, Path.cwd())
        return 0
    rows, begin = [], time.monotonic()
    for number in range(arguments.rounds):
        for processes in arguments.processes:
            if time.monotonic() - begin > arguments.time:
                continue
            runs = measure_storages(processes, arguments.trials, arguments.postgresql)
            for storage, found in runs.items():
                row = {
                    "date": datetime.date.today().isoformat(),
                    "device": processor_name(),
                    "cores": usable_cores(),
                    "server": found.server,
                    "file_system": found.file_system,
                    "autosinian": __version__,
                    "optuna": version("optuna"),
                    "sqlalchemy": version("sqlalchemy"),
                    "round": number,
                    "load": round(found.load, 1),
                    "storage": storage,
                    "processes": processes,
                    "trials": processes * arguments.trials,
                    "trials_per_second": round(found.rate, 2),
                    "cpu_s": round(found.cpu_s, 2),
                    "over_sqlite": round(found.rate / runs["sqlite"].rate, 2),
                    "complaints": len(found.complaints),
                }
                rows.append(row)
                print(json.dumps(row), flush=True)
                for text in found.complaints:
                    print(f"complaint: {text[-2000:]}", file=sys.stderr)
            if arguments.output is not None:
                with arguments.output.open("w", newline="") as stream:
                    writer = csv.DictWriter(stream, list(rows[0]))
                    writer.writeheader()
                    writer.writerows(rows)
    return 1 if any(row["complaints"] for row in rows) else 0


def measure_storages(processes: int, trials: int, server: str | None) -> dict[str, Run]:
    """`run` for each storage, both empty at first; `server` is the URL of one that runs already."""
    with tempfile.TemporaryDirectory(prefix="autosinian-throughput-") as folder:
        place = Path(folder)
        file = Database(f"sqlite:///{place / 'study.db'}", file_system=_file_system(place))
        found = {"sqlite": run(file, processes, trials, place)}
        if server is not None:
            with database_of(server) as database:
                found["postgresql"] = run(database, processes, trials, place)
        elif find_binaries() is None:
            print("no PostgreSQL server is installed", file=sys.stderr)
        else:
            with TemporaryServer() as own:
                files = _file_system(own.folder)
                database = Database(own.url, own.process, server_version(), files)
                found["postgresql"] = run(database, processes, trials, place)
        return found


@contextmanager
def database_of(server: str) -> Iterator[Database]:
    """A database of a running server while the block runs. Raises `InputError`."""
    name = f"autosinian_throughput_{os.getpid()}_{time.time_ns()}"
    try:
        url = sa.make_url(server)
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            told = connection.execute(sa.text("SHOW server_version")).scalar_one()
            process = _postmaster(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar())
            files = ""
            if process is not None:
                files = connection.execute(sa.text("SHOW data_directory")).scalar_one()
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    except sa.exc.SQLAlchemyError as error:
        raise storage_error(server, error) from error
    try:
        yield Database(
            url.set(database=name).render_as_string(hide_password=False),
            process,
            f"postgres (PostgreSQL) {told}",
            _file_system(Path(files)) if files else "",
        )
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def _postmaster(backend: int | None) -> int | None:
    """The server's own process, of one that serves us; None where it is on another machine."""
    try:
        parent = psutil.Process(backend).parent()
    except psutil.Error:
        return None
    return parent.pid if parent is not None and parent.name() == "postgres" else None


def _file_system(path: Path) -> str:
    """Its type and where it is mounted, e.g. `ext4 on /`."""
    mounted = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    place = next((p for p in (path.resolve(), *path.resolve().parents) if p in mounted), None)
    return f"{mounted[place]} on {place}" if place is not None else ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AutosinianError as error:
        sys.exit(f"study_throughput: {error}")
