"""Joint search against architecture first, serving settings after, on the same number of trials.

    python benchmarks/joint_search.py search_spaces/cifar10_gpu.yaml --trials 40 \
        --output benchmarks/results/joint_search.csv

Two arms are searched with `autosinian search`. *Joint*: the file as it is. *Sequential*: half of
the trials at batch 1 over architecture and precision with one stream, then the other half over
the serving settings of the best network found. Then the winners and the joint arm's baseline are
measured again, interleaved, and so is the joint winner's network at batch 1 with the streams and
CUDA graphs that suit it best there. All figures are LoadGen Offline samples/s; ratios are medians
over rounds. `--arms` runs one arm alone, so that two GPUs can share the work; `--compare` measures
what both have left in the study folder.
"""

import argparse
import csv
import datetime
import itertools
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import yaml

from autosinian.measure.workers import WorkerChoice
from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.space_file import read_space
from autosinian.search.storage import load_study, storage_url
from autosinian.search.workbench import Workbench, open_workbench
from autosinian.space.candidate import Candidate, EngineConfig
from autosinian.supernet import open_supernet

RATE = "Offline.samples_per_second"


@dataclass(frozen=True)
class Arms:
    """The three searches of one comparison, as space files in `folder`."""

    folder: Path
    trials: int
    seed: int
    arguments: tuple[str, ...]

    def search(self, space: Path, trials: int) -> float:
        """Run one search in a process of its own; seconds."""
        start = time.monotonic()
        command = [sys.executable, "-m", "autosinian", "search", str(space)]
        command += ["--trials", str(trials), "--seed", str(self.seed), *self.arguments]
        subprocess.run(command, check=True)
        return time.monotonic() - start

    def write(self, name: str, value: dict[str, Any]) -> Path:
        """A space file `name.yaml`."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(value, sort_keys=False))
        return path


def read(space: Path) -> dict[str, Any]:
    """A space file as plain data, its paths made absolute."""
    value: dict[str, Any] = yaml.safe_load(space.read_text())
    value["supernet"] = str((space.parent / value["supernet"]).resolve())
    if value["data"].get("path"):
        value["data"]["path"] = str((space.parent / value["data"]["path"]).resolve())
    return value


def joint(arms: Arms, space: dict[str, Any]) -> float:
    """Everything together."""
    return arms.search(arms.write("joint", space), arms.trials)


def sequential(arms: Arms, space: dict[str, Any]) -> float:
    """Architecture and precision at batch 1, then how the best of them is served."""
    first = arms.trials // 2
    one = {**space, "serving": {"batch_size": 1}}
    for name in ("optimization_level",):
        if name in space["serving"]:
            one["serving"][name] = space["serving"][name]
    architecture = arms.write("architecture", one)
    seconds = arms.search(architecture, first)
    best = outcome("architecture").best
    if best is None or best.candidate is None or best.evaluation is None:
        raise SystemExit("no subnet at batch 1 meets the constraints: give more trials")
    rule = open_supernet(space["supernet"]).preprocessing
    served = {key: value for key, value in space.items() if key not in ("supernet", "architecture")}
    bench = workbench(architecture, "architecture", WorkerChoice())
    float_candidate = replace(best.candidate, quantization=type(best.candidate.quantization)())
    served["network"] = {
        "source": str(bench.evaluator.networks.model(float_candidate)),
        "mean": list(rule.mean),
        "std": list(rule.std),
        "interpolation": rule.interpolation,
        **({} if rule.centre_crop else {"resize": "direct"}),
    }
    quantization = best.candidate.quantization
    served["quantization"] = {"precision": [quantization.precision]}
    if quantization.precision == "int8":
        served["quantization"]["calibration"] = [quantization.calibration]
    # Its accuracy was judged in the first half.
    served["constraints"] = []
    return seconds + arms.search(arms.write("serving", served), arms.trials - first)


def outcome(name: str) -> Outcome:
    """What a study has found."""
    return read_outcome(load_study(name, storage_url(name, None)))


def workbench(space: Path, name: str, choice: WorkerChoice) -> Workbench:
    """The rooms of a study."""
    return open_workbench(read_space(space), name, storage_url(name, None), choice)


def compare(arms: Arms, choice: WorkerChoice, rounds: int) -> list[dict[str, Any]]:
    """Measure the winners, the baseline and the batch-1 settings again, interleaved."""
    benches = {name: workbench(arms.folder / f"{name}.yaml", name, choice) for name in STUDIES}
    together, served = outcome("joint"), outcome("serving")
    best, settled = together.best, served.best
    if best is None or settled is None or best.candidate is None or settled.candidate is None:
        raise SystemExit("both arms must have found a network that meets the constraints")
    baseline = together.baseline_candidate
    assert baseline is not None
    contenders: dict[str, tuple[Workbench, Candidate]] = {
        "baseline": (benches["joint"], baseline),
        "joint": (benches["joint"], best.candidate),
        "sequential": (benches["serving"], settled.candidate),
        "joint's network at batch 1": (
            benches["joint"],
            at_batch_1(benches["joint"], best.candidate),
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            rates[name].append(rate(*contenders[name], f"compare-{name[:3]}"))
    accuracy = {
        "baseline": together.reference["accuracy"],
        "joint": best.metrics["accuracy"],
        "sequential": settled.metrics["accuracy"],
        "joint's network at batch 1": best.metrics["accuracy"],
    }
    return [
        row(name, candidate, rates[name], rates["joint"], accuracy[name])
        for name, (_, candidate) in contenders.items()
    ]


STUDIES = ("joint", "serving")


def rate(bench: Workbench, candidate: Candidate, run_name: str) -> float:
    """LoadGen Offline samples/s of one run."""
    evaluator = bench.evaluator
    engine_file = evaluator.build(candidate, evaluator.networks.model(candidate))
    measured = evaluator.performance(candidate, engine_file, "Offline", run_name)
    found = float(measured.samples_per_second or 0.0) if measured.valid else 0.0
    print(f"{run_name}: {found:,.0f} samples/s", file=sys.stderr, flush=True)
    return found


def at_batch_1(bench: Workbench, candidate: Candidate) -> Candidate:
    """The candidate's network at batch 1 with the streams and graphs that are fastest there."""
    found: list[tuple[float, Candidate]] = []
    options = dict(candidate.engine.options)
    most = next(t.high or 1 for t in bench.engine.tunables() if t.name == "streams")
    for streams, graphs in itertools.product((1, 2, 4), (False, True)):
        if streams > most:
            continue
        if graphs and "graphs" not in options:
            continue
        serving = (
            options | {"streams": streams} | ({"graphs": graphs} if "graphs" in options else {})
        )
        engine = EngineConfig.make(candidate.engine.engine, 1, **serving)
        tried = replace(candidate, engine=engine)
        found.append((rate(bench, tried, "at-batch-1"), tried))
    return max(found, key=lambda item: item[0])[1]


def row(
    name: str, candidate: Candidate, rates: list[float], joint: list[float], accuracy: float
) -> dict[str, Any]:
    """One line of the table; `joint_over_it` is the median ratio of rounds."""
    ratio = statistics.median(j / r for j, r in zip(joint, rates, strict=True))
    return {
        "what": name,
        "samples_per_second": round(statistics.median(rates), 1),
        "lowest": round(min(rates), 1),
        "highest": round(max(rates), 1),
        "joint_over_it": round(ratio, 3),
        "search_accuracy": round(accuracy, 4),
        "precision": candidate.quantization.precision,
        "resolution": candidate.subnet.resolution,
        "batch_size": candidate.engine.batch_size,
        "options": json.dumps(dict(candidate.engine.options)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("space", type=Path, help="space file over a supernet")
    parser.add_argument("--folder", type=Path, default=Path(), help="where space files are written")
    parser.add_argument("--trials", type=int, default=40, help="trials of each arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="*", default=["joint", "sequential"])
    parser.add_argument("--compare", action="store_true", help="only measure what is there")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", help="as for autosinian search")
    parser.add_argument("--worker-python", help="as for autosinian search")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    given = (("--devices", arguments.devices), ("--worker-python", arguments.worker_python))
    passed = tuple(word for name, value in given if value for word in (name, value))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    arms = Arms(arguments.folder, arguments.trials, arguments.seed, passed)
    space = read(arguments.space)
    if not arguments.compare:
        for name, arm in (("joint", joint), ("sequential", sequential)):
            if name in arguments.arms:
                print(f"{name}: {arm(arms, space):.0f} s", flush=True)
        if set(arguments.arms) != {"joint", "sequential"}:
            return
    choice = WorkerChoice.parse(arguments.worker_python, arguments.devices)
    rows = compare(arms, choice, arguments.rounds)
    found = outcome("joint")
    common = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "engine": space["engine"],
        "versions": json.dumps(found.versions),
        "trials": arguments.trials,
        "seed": arguments.seed,
        "median_overhead_s": round(
            statistics.median(r.evaluation.overhead_s for r in found.records if r.evaluation), 2
        ),
    }
    for line in rows:
        print(" ".join(f"{key}={value}" for key, value in line.items()), flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*common, *rows[0]], lineterminator="\n")
            writer.writeheader()
            writer.writerows({**common, **line} for line in rows)


if __name__ == "__main__":
    main()
