"""Runs that were made before, found by what their logs say."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from autosinian.content import file_sha256
from autosinian.errors import InputError
from autosinian.export.bundle import ENGINE
from autosinian.mlperf import rules
from autosinian.mlperf.audit_runs import SERVED, Served, Tell
from autosinian.mlperf.submission_logs import ACCURACY, DETAIL, SUMMARY, RunLog, find_runs


def take_runs(
    logs: Path,
    scenario: str,
    runs: Path,
    served: Served,
    tell: Tell,
    *,
    audits: Sequence[str] = rules.AUDITS,
) -> None:
    """Copy a scenario's runs below `logs` to `runs`: VALID before others, those of the official
    length before shorter ones, then the newest.

    A SubmissionRun is both a performance and an accuracy run; those of `audits` count where they
    lie as `autosinian audit` leaves them. Raises `InputError` for runs of another engine file.
    """
    if not logs.is_dir():
        raise InputError(f"`--logs` must be a folder of runs, but there is no `{logs}`")
    found = [run for run in find_runs(logs) if run.scenario == scenario]
    wanted = {
        "performance/run_1": ("performance", "SubmissionRun"),
        "accuracy": ("accuracy", "SubmissionRun"),
    }
    for part, kinds in wanted.items():
        fitting = [run for run in found if run.kind in kinds and not _is_audits(run)]
        best = max(fitting, key=_rank, default=None)
        if best is not None:
            _require_own(best, served)
            tell(f"{scenario}: {part} from `{best.folder}`")
            _copy_logs(best.folder, runs / part, answers=part == "accuracy")
    for test in audits:
        audited = [run for run in found if run.kind == test and _is_audits(run)]
        best = max(audited, key=_rank, default=None)
        if best is not None:
            _require_own(best, served)
            tell(f"{scenario}: {test} from `{best.folder.parents[1]}`")
            shutil.copytree(best.folder.parents[1], runs / test)


def _is_audits(run: RunLog) -> bool:
    """Whether the run lies in the folder of a test, as `autosinian audit` leaves it."""
    return len(run.folder.parents) > 1 and run.folder.parents[1].name.startswith("TEST")


def _rank(run: RunLog) -> tuple[bool, bool, float]:
    full = run.number("effective_min_duration_ms") >= rules.MIN_DURATION_MS
    return run.valid, full, (run.folder / DETAIL).stat().st_mtime


def _require_own(run: RunLog, served: Served) -> None:
    """Raise `InputError` where a file beside the logs says that another engine file gave them."""
    assert served.source.bundle is not None
    own = {file_sha256(served.engine_file), served.source.bundle.result["hashes"][ENGINE]}
    used = None
    for folder in (run.folder, *run.folder.parents[:3]):
        if (folder / SERVED).is_file():
            used = json.loads((folder / SERVED).read_text())["engine_file_sha256"]
            break
        job = folder / "run_job.json"
        if job.is_file():
            path = Path(json.loads(job.read_text())["job"]["engine_file"])
            used = file_sha256(path) if path.is_file() else None
            break
    if used is not None and used not in own:
        raise InputError(
            f"the runs in `--logs` must be of `{served.source.folder}`, but `{run.folder}` is of "
            "another engine file"
        )


def _copy_logs(source: Path, target: Path, *, answers: bool) -> None:
    target.mkdir(parents=True)
    for name in (DETAIL, SUMMARY, *((ACCURACY,) if answers else ())):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
