import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autosinian.report.html import report_html, write_report
from autosinian.report.remeasurement import BundleDetails, Check, Remeasurement
from autosinian.search.outcome import Outcome
from tests.report.example_study import HOSTILE, SPEED

CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """Elements, texts and scripts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script" and "type" not in self.elements[-1][1]:
            self.scripts.append(data)
        elif self._open != "script":
            self.texts.append(data)


def details(outcome: Outcome) -> BundleDetails:
    first, second = outcome.ranked()[:2]
    return BundleDetails(
        remeasurements=(
            Remeasurement(None, SPEED, (500.0, 520.0), 510.0, 490.0, 530.0, accuracy=0.92),
            Remeasurement(
                first.number, SPEED, (2550.0, 2550.0), 2550.0, 2500.0, 2600.0, True, 0.915
            ),
            Remeasurement(second.number, SPEED, (), 0.0, 0.0, 0.0, failure="worker died"),
        ),
        checks=(Check("hashes", True), Check("accuracy", False, "0.9150 expected, 0.9 found")),
        facts={"clock": "3.1 GHz"},
    )


def test_the_page_fetches_nothing(outcome: Outcome) -> None:
    page = Page(report_html(outcome))
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "onclick", "onerror", "onload", "style"} & attributes.keys()


def test_only_the_pages_own_scripts_may_run(outcome: Outcome) -> None:
    page = Page(report_html(outcome))
    policy = next(str(a["content"]) for t, a in page.elements if t == "meta" and "content" in a)
    assert policy.startswith("default-src 'none'; ")
    wanted = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == wanted
    assert len(page.scripts) == 2


def test_texts_of_a_study_are_never_markup(hostile: Outcome) -> None:
    rest = BundleDetails(
        (Remeasurement(1, SPEED, (), 0, 0, 0, failure=HOSTILE),),
        checks=(Check(HOSTILE, False, HOSTILE),),
        facts={HOSTILE: HOSTILE},
    )
    plain, nasty = report_html(hostile, rest), report_html(replace(hostile, name=HOSTILE), rest)
    kinds = [tag for tag, _ in Page(plain).elements]
    assert kinds == [tag for tag, _ in Page(nasty).elements]
    assert "img" not in kinds
    assert Page(nasty).texts.count(HOSTILE) >= 5


def test_data_for_the_plots_is_json_whatever_it_holds(hostile: Outcome) -> None:
    html = report_html(hostile)
    blocks = re.findall(r'<script type="application/json" id="figure-\w+">(.*?)</script>', html)
    assert len(blocks) == 3
    for block in blocks:
        assert "<" not in block
        assert json.loads(block)["data"]


def test_a_page_of_a_usual_study_stays_below_5_megabytes(outcome: Outcome, tmp_path: Path) -> None:
    path = tmp_path / "below" / "report.html"
    write_report(path, outcome)
    assert path.stat().st_size < 5e6
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_the_headline_is_the_best_against_the_baseline(outcome: Outcome) -> None:
    best = outcome.best
    assert best is not None
    ratio = best.metrics[SPEED] / outcome.reference[SPEED]
    difference = 100 * (best.metrics["accuracy"] - outcome.reference["accuracy"])
    texts = Page(report_html(outcome)).texts
    assert f"{ratio:.2f}x" in texts
    assert f"{difference:+.2f} points" in texts
    assert any("Some CPU" in t and "seed 0" in t for t in texts)


def test_a_bundles_headline_is_what_was_measured_again(outcome: Outcome) -> None:
    texts = Page(report_html(outcome, details(outcome))).texts
    assert "5.00x" in texts
    assert "-0.50 points" in texts
    assert "95 % interval" in texts
    assert "2,500 to 2,600 samples/s" in texts
    assert "FAILED" in texts
    assert any(t.startswith("worker died") for t in texts)


def test_every_trial_is_in_the_table(outcome: Outcome) -> None:
    html = report_html(outcome)
    table = html[html.index("All 24 trials") :]
    numbers = re.findall(r'<tr[^>]*><td[^>]*data-key="(\d+)"', table[: table.index("</table>")])
    assert numbers == [str(record.number) for record in outcome.records]


def test_a_study_that_has_only_begun_has_a_page(empty: Outcome) -> None:
    texts = Page(report_html(empty)).texts
    assert "No candidate met every constraint, so there is no best yet." in texts


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_draws_the_plots(hostile: Outcome, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, hostile)
    # No background traffic: the browser must not look for its maker's servers.
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"),
    ]
    drawn = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    kinds = [a.get("class") or "" for t, a in Page(drawn.stdout).elements if t == "svg"]
    assert sum("main-svg" in kind for kind in kinds) >= 3
