"""Where the time of a study's trials went, and what a trial costs whose engine is there already.

    python benchmarks/trial_stages.py STUDY --again 5 --output benchmarks/results/trial_stages.csv

Reads `studies/STUDY.db`; run it in the folder of the search. One line a trial: the seconds of each
stage, those of LoadGen's own runs, and what is beyond inference and LoadGen (`overhead_s`). With
`--again N` the N best are then tried again, each twice: with its engine file there and its accuracy
known (`cached`), and with its engine file there and its accuracy judged anew (`cached, judged`).
"""

import argparse
import csv
import datetime
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autosinian.evaluate.evaluation import Evaluation
from autosinian.measure.workers import WorkerChoice
from autosinian.search.outcome import Outcome, Record, read_outcome
from autosinian.search.storage import load_study, storage_url
from autosinian.search.workbench import open_workbench
from autosinian.space.candidate import Candidate

BOUND_S = 5.0
"""What a trial with a cached engine may cost beyond LoadGen's run."""


def row(what: str, record: Record, evaluation: Evaluation, wall_s: float) -> dict[str, Any]:
    """One line of the table."""
    candidate = record.candidate
    assert candidate is not None
    runs = evaluation.measurements
    return {
        "what": what,
        "trial": record.number,
        "state": "measured" if evaluation.complete else "stopped",
        "accuracy": round(evaluation.metrics.get("accuracy", 0.0), 4),
        "samples_per_second": round(evaluation.metrics.get("Offline.samples_per_second", 0.0), 1),
        "precision": candidate.quantization.precision,
        "resolution": candidate.subnet.resolution,
        "batch_size": candidate.engine.batch_size,
        "options": json.dumps(dict(candidate.engine.options)),
        "stage_s": json.dumps({name: round(s, 2) for name, s in evaluation.stage_s.items()}),
        "loadgen_s": round(sum(m.loadgen_s for m in runs), 2),
        "worker_s": round(sum(m.worker_s for m in runs), 2),
        "overhead_s": round(evaluation.overhead_s, 2),
        "trial_s": round(wall_s, 2),
        "sut": "; ".join(dict.fromkeys(m.versions.get("sut", "") for m in runs)),
        "disturbance": "; ".join(m.disturbance for m in runs if m.disturbance),
    }


def again(outcome: Outcome, count: int, choice: WorkerChoice) -> Iterator[dict[str, Any]]:
    """Trials of the best candidates, whose engine files are there."""
    with tempfile.TemporaryDirectory() as folder:
        # Another database, where no accuracy is known, with the same files.
        url = f"sqlite:///{folder}/again.db"
        bench = open_workbench(outcome.document, outcome.name, url, choice)
        try:
            # As in the midst of a search: the process that workers are forked from is there.
            modules, devices = bench.engine.slow_imports(), bench.workers.devices
            bench.workers.prepare(modules, devices, engine=bench.engine.name)
            bench.workers.settle()
            for number, record in enumerate(outcome.ranked()[:count]):
                candidate = record.candidate
                assert isinstance(candidate, Candidate)
                for what in ("cached, judged", "cached"):
                    found = bench.evaluator.evaluate(candidate, f"again-{number}")
                    line = row(what, record, found, sum(found.stage_s.values()))
                    print(f"{what:14} {line['overhead_s']:6.2f} s  {line['stage_s']}", flush=True)
                    yield line
        finally:
            bench.workers.close()
            bench.store.close()


def summarize(rows: list[dict[str, Any]]) -> None:
    """Print medians over trials, kind by kind."""
    for what in dict.fromkeys(line["what"] for line in rows):
        lines = [line for line in rows if line["what"] == what]
        overheads = [line["overhead_s"] for line in lines]
        print(
            f"{what}: {len(lines)} trials, {statistics.median(overheads):.2f} s beyond inference "
            f"and LoadGen (median; at most {max(overheads):.2f}), "
            f"{statistics.median(line['trial_s'] for line in lines):.2f} s a trial"
            + (f"; asked: at most {BOUND_S:g} s" if what.startswith("cached") else "")
        )
        stages: dict[str, list[float]] = {}
        for line in lines:
            for name, seconds in json.loads(line["stage_s"]).items():
                stages.setdefault(name, []).append(seconds)
        for name, values in stages.items():
            print(f"    {name:24} {statistics.median(values):6.2f} s (median of {len(values)})")


def main() -> None:
    """Read, measure again, print, and write the CSV after each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", help="its name")
    parser.add_argument("--again", type=int, default=0, help="how many of the best to try again")
    parser.add_argument("--devices", help="as for autosinian search")
    parser.add_argument("--worker-python", help="as for autosinian search")
    parser.add_argument("--label", default="", help="what is measured, as a column")
    parser.add_argument("--output", type=Path, help="CSV file to write, or to add to")
    arguments = parser.parse_args()
    outcome = read_outcome(load_study(arguments.study, storage_url(arguments.study, None)))
    rows = [
        row("search", record, record.evaluation, record.duration_s)
        for record in outcome.records
        if record.evaluation is not None and record.candidate is not None
    ]
    common = {
        "label": arguments.label,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "study": outcome.name,
        "engine": outcome.document.engine,
        "versions": json.dumps(outcome.versions),
        "search_s": round(max(record.elapsed_s for record in outcome.records), 1),
    }
    before = arguments.output.read_text() if arguments.output and arguments.output.exists() else ""
    write(arguments.output, before, common, rows)
    if arguments.again:
        choice = WorkerChoice.parse(arguments.worker_python, arguments.devices)
        for line in again(outcome, arguments.again, choice):
            rows.append(line)
            write(arguments.output, before, common, rows)
    print(
        f"{len(outcome.records)} trials in {common['search_s']} s on {outcome.versions['device']}"
    )
    summarize(rows)


def write(
    output: Path | None, before: str, common: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Write the table below what was there `before`, if it is asked for."""
    if output is None or not rows:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="") as stream:
        stream.write(before)
        writer = csv.DictWriter(stream, [*common, *rows[0]], lineterminator="\n")
        if not before:
            writer.writeheader()
        writer.writerows({**common, **line} for line in rows)


if __name__ == "__main__":
    main()
