from dataclasses import replace
from typing import Any

import pytest

from autosinian.measure.gpu_samples import GpuLimits, GpuRecord, GpuSample, summary
from autosinian.report.html import report_html
from autosinian.report.machine import disturbance_words, gpu_words, machine_details, machine_words
from autosinian.report.markdown import trial_note
from autosinian.search.outcome import Outcome
from tests.report.example_study import HOSTILE


def seen(**changes: Any) -> dict[str, Any]:
    """What a watch says of an H200 at its power limit."""
    sample = GpuSample(1755, 3201, 61, 690.0, 100, 0x4, 0)
    limits = GpuLimits(0, "NVIDIA H200", "GPU-1", "580.1", 1980, 3201, 700.0)
    return summary(GpuRecord(limits, sample, {}, (sample,))) | changes


def on_gpus(outcome: Outcome, machine: dict[str, Any], disturbance: str = "") -> Outcome:
    """The study as if its first measured trial had run on GPUs."""
    first = outcome.feasible[0]
    assert first.evaluation is not None
    measured = [
        replace(m, machine=machine, disturbance=disturbance) for m in first.evaluation.measurements
    ]
    changed = replace(first, evaluation=replace(first.evaluation, measurements=tuple(measured)))
    return replace(outcome, records=tuple(changed if r is first else r for r in outcome.records))


def test_a_gpu_is_told_in_a_line() -> None:
    words = "NVIDIA H200, GPU 0: 1755 of 1980 MHz, 61 °C, 690 of 700 W, software power cap"
    assert gpu_words(seen()) == words
    crowded = seen(other_processes={"before": 1, "came": 1})
    assert gpu_words(crowded) == f"{words}, 2 other processes"


def test_a_gpu_that_tells_little_is_told_with_that() -> None:
    assert gpu_words({"index": 2, "samples": 3}) == "GPU 2: it tells nothing"
    assert machine_words({"gpus": [], "gpus_unknown": "no driver"}) == "not seen: no driver"
    assert machine_words({"load_average": [1, 1, 1]}) == ""


@pytest.mark.parametrize(
    ("first", "disturbance", "words"),
    [
        ("", "", ""),
        ("", "GPU 0 was shared", "GPU 0 was shared"),
        ("GPU 0 was shared", "", "GPU 0 was shared; not the second time, which counts"),
        ("GPU 0 was shared", "GPU 0 was throttled", "GPU 0 was shared; again: GPU 0 was throttled"),
    ],
)
def test_what_disturbed_is_told_with_the_repetition(
    first: str, disturbance: str, words: str
) -> None:
    machine = {"repeated_because": first} if first else {}
    assert disturbance_words(machine, disturbance) == words


def test_a_study_on_the_processor_shows_no_gpus(outcome: Outcome) -> None:
    assert machine_details(outcome).html == ""
    assert "| GPUs |" not in trial_note(outcome.feasible[0], outcome.reference, {})


def test_the_page_and_the_note_show_what_gpus_did(outcome: Outcome) -> None:
    found = on_gpus(outcome, {"gpus": [seen()]}, "GPU 0 was throttled: hardware slowdown")
    page = report_html(found)
    assert "What the GPUs did: 2 measurements, 2 disturbed" in page
    assert "690 of 700 W" in page
    note = trial_note(found.feasible[0], found.reference, {})
    assert "| Offline | NVIDIA H200, GPU 0: 1755 of 1980 MHz" in note
    assert "GPU 0 was throttled: hardware slowdown" in note


def test_texts_of_a_driver_are_never_markup(outcome: Outcome) -> None:
    found = on_gpus(outcome, {"gpus": [seen(name=HOSTILE)]}, HOSTILE)
    assert "<script>alert" not in machine_details(found).html
    assert "<script" not in trial_note(found.feasible[0], {}, {}).replace("\\<script", "")
