"""`autosinian search` from end to end: a real supernet, engine and LoadGen, all very small."""

import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from autosinian.cli.main import main
from autosinian.search.ledger import KEPT
from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.sampler import DistinctSampler
from autosinian.search.storage import load_study
from autosinian.store import Store
from tests.search.conftest import SPACE, Desk, Ended, end, environment, write_checkpoint
from tests.search.engines import (
    ABORTS,
    HANGS,
    KILLED_ONCE,
    LEAKS,
    RAISES,
    RULED_OUT,
    UnsteadyEngine,
)


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.05)


def finished_keys(outcome: Outcome) -> list[str]:
    """Keys of the candidates that were measured or found infeasible."""
    states = ("measured", "infeasible")
    return [r.candidate.key for r in outcome.records if r.candidate and r.state in states]


def run_here(desk: Desk, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command in this process, which saves the start of another."""
    monkeypatch.chdir(desk.folder)
    for name, value in environment(desk.folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(desk.folder))
    return main(["search", "tiny.yaml", "--json", *arguments])


def test_a_search_finds_a_front_and_prints_its_summary(finished: tuple[Desk, Ended]) -> None:
    ended = finished[1]
    assert ended.code == 0, ended.stderr
    summary = ended.summary
    assert (summary["study"], summary["trials"], summary["lost"]) == ("tiny", 4, 0)
    assert summary["measured"] + summary["infeasible"] == 4
    assert summary["front"]
    assert summary["best"]["metrics"]["Offline.samples_per_second"] > 0
    assert 0 <= summary["baseline"]["accuracy"] <= 1
    assert summary["baseline"]["macs"] > 1000
    assert summary["storage"] == "sqlite:///studies/tiny.db"
    assert ended.stdout.count("\n") == 1
    assert "Traceback" not in ended.stderr


def test_the_baseline_is_the_first_trial(finished: tuple[Desk, Ended]) -> None:
    outcome = finished[0].outcome()
    assert outcome.baseline is not None
    assert outcome.records[0].candidate == outcome.baseline_candidate
    assert outcome.records[0].candidate is not None
    assert outcome.records[0].candidate.engine.batch_size == 1
    assert outcome.records[0].metrics == outcome.baseline.metrics


def test_every_trial_keeps_its_logs_and_files(finished: tuple[Desk, Ended]) -> None:
    desk, _ = finished
    folder = desk.folder / "studies" / "tiny"
    for record in desk.outcome().records:
        assert record.evaluation is not None
        for path in record.evaluation.files.values():
            assert (folder / path).stat().st_size > 0
        for measurement in record.evaluation.measurements:
            summaries = list(
                folder.glob(f"**/trial-{record.number:05d}*/**/mlperf_log_summary.txt")
            )
            assert summaries
            assert measurement.valid
            assert measurement.samples > 0
        assert record.evaluation.overhead_s > 0
    assert len(set(finished_keys(desk.outcome()))) == 4


def test_the_same_command_again_does_nothing_more(
    copied: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copied.outcome()
    assert run_here(copied, monkeypatch) == 0
    assert copied.outcome().records == before.records
    assert capsys.readouterr().out.count("\n") == 1


def test_more_trials_go_on_from_those_there_are(
    copied: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copied.outcome()
    assert run_here(copied, monkeypatch, "--trials", "5") == 0
    after = copied.outcome()
    assert after.records[:4] == before.records
    assert len(after.records) == 5
    assert after.baseline == before.baseline


def test_a_finished_study_goes_on_under_new_constraints(
    copied: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copied.outcome()
    copied.write_space(SPACE.replace("[macs <= reference]", "[accuracy >= 0.99]"))
    line = refused(copied, monkeypatch, capsys)
    assert '`constraints` was ["macs <= reference"], is ["accuracy >= 0.99"]' in line
    assert "`--new-constraints`" in line
    assert run_here(copied, monkeypatch, "--new-constraints", "--give-up-after", "4") == 1
    assert "4 trials judged by the new constraints" in capsys.readouterr().err
    after = copied.outcome()
    assert after.document.constraints == ["accuracy >= 0.99"]
    assert [r.metrics for r in after.records] == [r.metrics for r in before.records]
    assert {r.state for r in after.records} == {"infeasible"}
    copied.write_space()
    assert run_here(copied, monkeypatch, "--new-constraints") == 0
    again = copied.outcome()
    assert [(r.state, r.violations) for r in again.records] == [
        (r.state, r.violations) for r in before.records
    ]


def test_a_search_begins_with_the_best_of_another_study(
    copied: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = [record.candidate for record in copied.outcome().front]
    arguments = ["--study", "second", "--seed-from", "tiny", "--trials", "2"]
    assert run_here(copied, monkeypatch, *arguments) == 0
    second = read_outcome(load_study("second", f"sqlite:///{copied.folder}/studies/second.db"))
    assert second.records[0].candidate == second.baseline_candidate
    assert second.records[1].candidate in front


def test_time_ends_a_search(copied: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_here(copied, monkeypatch, "--trials", "100", "--time", "0.1") == 0
    assert len(copied.outcome().records) <= 5


def test_ctrl_c_gives_the_running_trial_back(copied: Desk) -> None:
    process = copied.start("--trials", "100")
    wait_for(lambda: copied.states()[4:] == ["RUNNING"])
    time.sleep(random.uniform(0, 1.5))
    process.send_signal(signal.SIGINT)
    ended = end(process)
    assert ended.code == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.summary["measured"] >= 1
    assert "RUNNING" not in copied.states()
    assert copied.workers() == []


@pytest.mark.parametrize("claimed", [False, True])
def test_ctrl_c_while_a_trial_is_proposed_gives_it_back(
    copied: Desk, monkeypatch: pytest.MonkeyPatch, claimed: bool
) -> None:
    propose = DistinctSampler.sample_relative

    def interrupted(sampler: DistinctSampler, *arguments: Any) -> dict[str, Any]:
        if claimed:
            propose(sampler, *arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as now:
        now.setattr(DistinctSampler, "sample_relative", interrupted)
        assert run_here(copied, monkeypatch, "--trials", "5") == 130
    assert copied.states()[4:] == ["FAIL"]
    assert copied.outcome().records[4].reason == "interrupted"
    store = Store(f"sqlite:///{copied.database}", "tiny")
    assert store.claims("running") == []
    assert run_here(copied, monkeypatch, "--trials", "5") == 0
    assert copied.outcome().summary()["lost"] == 1


def test_kill_9_loses_the_running_trial_only_and_it_is_tried_again(copied: Desk) -> None:
    before = copied.outcome()
    process = copied.start("--trials", "100")
    wait_for(lambda: copied.states()[4:5] == ["RUNNING"])
    pause = random.uniform(0.2, 4)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: copied.workers() == [], 5)
    killed = copied.outcome()
    running = [r for r in killed.records if r.state == "running"]
    assert len(running) <= 1, f"killed after {pause} s"
    runs = copied.folder / "studies" / "tiny" / "runs"
    # Killed between keeping a measurement and telling it: the next search tells it.
    kept = [r.number for r in running if (runs / f"trial-{r.number:05d}" / KEPT).exists()]
    target = len(finished_keys(killed)) + 1
    ended = end(copied.start("--trials", str(target)))
    assert ended.code == 0, ended.stderr
    after = copied.outcome()
    assert after.records[:4] == before.records
    keys = finished_keys(after)
    assert len(keys) == len(set(keys)) == target
    left = copied.states().count("RUNNING")
    # Killed while it was proposed, unclaimed: ended only when it is surely nobody's.
    assert left <= sum(r.candidate is None for r in running), f"killed after {pause} s"
    if running and running[0].candidate is not None:
        assert running[0].candidate.key in keys
    lost = after.summary()["lost"]
    assert lost == len(running) - len(kept) - left, f"killed after {pause} s"
    assert all(after.records[number].evaluation for number in kept)


def test_two_searches_share_a_study(desk: Desk) -> None:
    processes = [desk.start("--trials", "5") for _ in range(2)]
    both = [end(process) for process in processes]
    # The one that waits for the other's baseline says so once, however long it takes.
    assert sum(ended.stderr.count("measures the baseline") for ended in both) <= 1
    for ended in both:
        assert ended.code == 0, ended.stderr
        assert "Traceback" not in ended.stderr
    outcome = desk.outcome()
    keys = finished_keys(outcome)
    assert len(keys) == len(set(keys))
    assert 5 <= len(keys) <= 6
    assert outcome.baseline_candidate is not None
    assert keys.count(outcome.baseline_candidate.key) == 1
    assert "RUNNING" not in desk.states()


def test_candidates_that_cannot_be_measured_are_infeasible_and_the_search_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(desk.folder / "tiny.pt", depths=(1,))
    batches = [1, RAISES, ABORTS, HANGS, KILLED_ONCE, 12, LEAKS, RULED_OUT]
    text = SPACE.replace("openvino", UnsteadyEngine.name).replace("[fp32, int8]", "[fp32]")
    text = text.replace("{low: 1, high: 16}", str(batches)).replace("limit_s: 60", "limit_s: 12")
    desk.write_space(text.replace("trials: 4", "  memory_limit_mib: 1200\ntrials: 20"))
    assert run_here(desk, monkeypatch) == 0
    reasons: dict[int, str] = {}
    attempts: list[int] = []
    for record in desk.outcome().records:
        if record.candidate is not None:
            attempts.append(record.candidate.engine.batch_size)
            reasons[record.candidate.engine.batch_size] = f"{record.state} {record.reason}"
    assert reasons[1] == reasons[12] == "measured "
    assert f"no kernel for batch size {RAISES}" in reasons[RAISES]
    assert reasons[RAISES].startswith("infeasible build: ")
    assert "crashed with SIGABRT" in reasons[ABORTS]
    assert "took longer than the limit of 12 s" in reasons[HANGS]
    assert "more than the limit 1200 MiB" in reasons[LEAKS]
    first = attempts.index(LEAKS) < attempts.index(RULED_OUT)
    expected = f"infeasible ruled out by trial {attempts.index(LEAKS)} (" if first else "measured "
    assert reasons[RULED_OUT].startswith(expected)
    assert reasons[KILLED_ONCE] == "measured "
    assert attempts.count(KILLED_ONCE) == 2
    assert sorted(set(attempts)) == batches
    assert "RUNNING" not in desk.states()
    assert "exhausted" in capsys.readouterr().err


def test_a_baseline_outside_the_space_is_measured_but_is_no_trial(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write_space(SPACE.replace("[fp32, int8]", "[int8]"))
    assert run_here(desk, monkeypatch, "--trials", "1") == 0
    outcome = desk.outcome()
    assert outcome.baseline is not None and outcome.baseline_candidate is not None
    assert outcome.baseline_candidate.quantization.precision == "fp32"
    assert outcome.baseline_candidate.key not in finished_keys(outcome)
    assert len(outcome.records) == 1
    assert outcome.records[0].number == 0


def test_a_bar_that_nothing_reaches_ends_the_search_with_the_nearest(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.write_space(SPACE.replace("macs <= reference", "accuracy >= 0.999"))
    assert run_here(desk, monkeypatch, "--trials", "50", "--give-up-after", "2") == 1
    told = capsys.readouterr().err
    assert "no candidate met the constraints in 2 trials" in told
    assert "misses `accuracy >= 0.999` by " in told
    outcome = desk.outcome()
    assert outcome.best is None
    assert [r.state for r in outcome.records] == ["infeasible"] * 2
    assert "accuracy >= 0.999" in outcome.records[1].reason
    assert "Offline.samples_per_second" in outcome.reference
    assert "Offline.samples_per_second" not in outcome.records[1].metrics


def test_a_baseline_that_cannot_be_measured_ends_every_attempt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SPACE.replace("openvino", UnsteadyEngine.name)
    desk.write_space(text.replace("limit_s: 60", "limit_s: 0.05"))
    for _ in range(2):
        assert run_here(desk, monkeypatch) == 1
        told = capsys.readouterr().err
        assert "the baseline" in told
        assert "took longer than the limit" in told
    assert "RUNNING" not in desk.states()


def refused(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a search that is refused."""
    assert run_here(desk, monkeypatch) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line for line in told.err.splitlines() if line.startswith("autosinian: ")]
    assert len(lines) == 1
    assert "Traceback" not in told.err
    return lines[0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tiny.pt", "absent.pt", "absent.pt"),
        ("tiny.pt", "tiny.yaml", "tiny.yaml"),
        ("name: fashion_mnist", "name: mnist", "mnist"),
        ("engine: openvino", "engine: openvno", "openvino"),
        ("engine: openvino", "engine: 'tests.absent:Engine'", "cannot be imported"),
        ("[fp32, int8]", "[fp16]", "tiny.yaml:6: "),
        ("{batch_size:", "{stream: 1, batch_size:", "tiny.yaml:7: "),
        ("macs <= reference", "accuracy >= 1.01", "tiny.yaml:5: "),
        ("trials: 4", "architecture: {depth: [4]}", "tiny.yaml:14: "),
    ],
)
def test_a_bad_space_is_refused_in_one_line(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    told: str,
) -> None:
    desk.write_space(SPACE.replace(old, new))
    assert told in refused(desk, monkeypatch, capsys)


def test_a_study_of_another_space_or_supernet_is_refused(
    copied: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copied.outcome()
    copied.write_space(SPACE.replace("high: 16", "high: 17"))
    assert "of another space: `serving" in refused(copied, monkeypatch, capsys)
    copied.write_space()
    write_checkpoint(copied.folder / "tiny.pt", seed=1)
    assert "supernet_sha256" in refused(copied, monkeypatch, capsys)
    assert copied.outcome().records == before.records


FULL_DISK = """
set -e
folder=$1; size=$2; shift; shift
mkdir -p "$folder/studies"
mount -t tmpfs -o size="$size" none "$folder/studies"
set +e
"$@" --patience 1s > "$folder/first.out" 2> "$folder/first.err"; echo $? > "$folder/first.code"
mount -o remount,size=200m "$folder/studies"
"$@"
"""

FILLED_DISK = """
set -e
folder=$1; shift
mkdir -p "$folder/studies"
mount -t tmpfs -o size=60m none "$folder/studies"
"$@" 2> "$folder/paused.err" &
search=$!
until [ -e "$folder/studies/tiny/runs/trial-00001" ]; do sleep 0.05; kill -0 $search; done
set +e
cat /dev/zero > "$folder/studies/filler" 2> /dev/null
until grep -q "^paused: " "$folder/paused.err"; do sleep 0.05; kill -0 $search || exit 9; done
sleep 1
rm "$folder/studies/filler"
wait $search
"""


def can_mount() -> bool:
    """Whether a small file system of its own can be made here."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_a_full_disk_ends_in_one_line_and_the_next_search_goes_on(desk: Desk) -> None:
    # Where the disk is full differs from run to run: arrays, models, logs or the database.
    size = f"{random.randint(400, 2200)}k"
    launcher = ("unshare", "-rm", "sh", "-c", FULL_DISK, "sh", str(desk.folder), size)
    ended = end(desk.start(launcher=launcher))
    told = f"{size}: {(desk.folder / 'first.err').read_text()}"
    assert (desk.folder / "first.code").read_text() == "2\n", told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("autosinian: ")
    assert ended.code == 0, ended.stderr
    assert ended.summary["measured"] + ended.summary["infeasible"] == 4


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_a_search_pauses_while_the_disk_is_full_and_goes_on(desk: Desk) -> None:
    launcher = ("unshare", "-rm", "sh", "-c", FILLED_DISK, "sh", str(desk.folder))
    ended = end(desk.start("--trials", "3", "--patience", "2m", launcher=launcher))
    told = (desk.folder / "paused.err").read_text()
    assert ended.code == 0, told
    assert "Traceback" not in told
    assert [line for line in told.splitlines() if line.startswith("going on after ")]
    summary = ended.summary
    assert summary["measured"] + summary["infeasible"] == summary["trials"] == 3


def test_no_process_is_left_behind(finished: tuple[Desk, Ended]) -> None:
    names = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [name for name in names if str(finished[0].folder) in name]
