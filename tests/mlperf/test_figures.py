"""LoadGen's summaries in its own digits."""

from pathlib import Path

import pytest

from autosinian.mlperf.figures import Figure, read_summary

HEAD = """\
================================================
MLPerf Results Summary
================================================
SUT name : PyFastSUT
Scenario : {scenario}
Mode     : PerformanceOnly
"""
TAIL = """
================================================
Additional Stats
================================================
Min latency (ns)                : 3696
"""


def summary(folder: Path, scenario: str, body: str) -> Path:
    text = HEAD.format(scenario=scenario) + body + TAIL
    (folder / "mlperf_log_summary.txt").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("line", "figure"),
    [
        ("Samples per second: 590546", Figure("Samples per second", "590546")),
        (
            "Completed samples per second    : 140488.70",
            Figure("Completed samples per second", "140488.70"),
        ),
        (
            "90.0th percentile latency (ns) : 4159842",
            Figure("90.0th percentile latency (ns)", "4159842"),
        ),
        ("Samples per second: 1.07828e+06", Figure("Samples per second", "1.07828e+06")),
    ],
)
def test_the_figure_keeps_its_digits(tmp_path: Path, line: str, figure: Figure) -> None:
    found = read_summary(summary(tmp_path, "Any", f"{line}\nResult is : VALID\n"))
    assert found.figure == figure
    assert found.figure.value == float(figure.text)
    assert (found.result, found.early_stopping, found.advice) == ("VALID", None, ())


def test_the_estimate_and_the_advice_of_a_stream(tmp_path: Path) -> None:
    body = """\
99.0th percentile latency (ns) : 15493
Result is : INVALID
  Min duration satisfied : NO
Recommendations:
 * Decrease the expected latency so the loadgen pre-generates more queries.
 * Increase the target duration.
Early Stopping Result:
 * Processed at least 662 queries (1000).
 * Early stopping 99.0th percentile estimate: 6210369
 * Early stopping 99.9th percentile estimate: 7000000
"""
    found = read_summary(summary(tmp_path, "MultiStream", body))
    assert found.result == "INVALID"
    expected = Figure("Early stopping 99.0th percentile estimate (ns)", "6210369")
    assert found.early_stopping == expected
    assert found.advice == (
        "Decrease the expected latency so the loadgen pre-generates more queries.",
        "Increase the target duration.",
    )


def test_an_accuracy_run_and_an_empty_folder_have_no_figure(tmp_path: Path) -> None:
    assert read_summary(tmp_path).figure is None
    (tmp_path / "mlperf_log_summary.txt").write_text("\nNo warnings encountered during test.\n")
    found = read_summary(tmp_path)
    assert (found.figure, found.result, found.early_stopping) == (None, "", None)
