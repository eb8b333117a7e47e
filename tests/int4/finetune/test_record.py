"""What a run leaves behind: the table, its plot and the words for people."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from autosinian.int4.finetune.record import TABLE, Record, table
from autosinian.int4.finetune.trade_off import LEFT, trade_off_svg

ROWS = [
    {
        "variant": "float",
        "accuracy_search": 0.95,
        "accuracy_validation": 0.949,
        "weight_bytes": 8e6,
    },
    {"variant": "int4, as calibrated", "accuracy_search": 0.6, "weight_bytes": 1e6},
    {"variant": "int4", "accuracy_search": 0.94, "accuracy_validation": 0.941, "weight_bytes": 1e6},
    {
        "variant": "4 < 5",
        "accuracy_search": 0.95,
        "accuracy_validation": 0.945,
        "weight_bytes": 2e6,
    },
]


def test_every_row_is_on_disk_at_once_and_may_be_amended(tmp_path: Path) -> None:
    record = Record(tmp_path, torch.device("cpu"), network="resnet50")
    for row in ROWS:
        record.row(**row)
        with (tmp_path / TABLE).open(newline="") as stream:
            assert list(csv.DictReader(stream))[-1]["variant"] == row["variant"]
    record.amend(arithmetic="exact")
    with (tmp_path / TABLE).open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["arithmetic"] for row in found] == ["", "", "", "exact"]
    assert {row["network"] for row in found} == {"resnet50"}
    assert all(row["versions"].startswith("torch ") for row in found)


def test_the_plot_has_a_point_for_each_judged_network_and_a_line_for_float() -> None:
    root = ElementTree.fromstring(trade_off_svg(ROWS))
    name = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{name}circle")
    assert len(circles) == 2
    # More bytes to the right, more accuracy higher up.
    first, second = (float(circle.get("cx", "0")) - LEFT for circle in circles)
    assert second == pytest.approx(2 * first, abs=0.2)
    assert float(circles[1].get("cy", "0")) < float(circles[0].get("cy", "0"))
    texts = [text.text for text in root.findall(f"{name}text")]
    assert "4 < 5" in texts and "float32" in texts and "int4, as calibrated" not in texts


def test_a_plot_of_nothing_is_still_a_plot() -> None:
    assert ElementTree.fromstring(trade_off_svg([])).tag.endswith("svg")


def test_the_table_for_people_is_in_percent_and_megabytes() -> None:
    lines = table(ROWS).splitlines()
    assert lines[1].split() == ["float", "95.00", "94.90", "8.00"]
    assert lines[2].split() == ["int4,", "as", "calibrated", "60.00", "1.00"]
