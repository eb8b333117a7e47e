"""What LoadGen's accuracy log says of detections, read back and scored."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.detection.anchors import default_box_array
from autosinian.detection.decoded import Decoder
from autosinian.detection.layout import LAYOUTS
from autosinian.errors import InputError
from autosinian.measure.answers import Detections, Labels, answers_for, read_detections

TASK = {"name": "detection", "image_size": 300, "classes": 3}


def _row(place: int, label: int) -> NDArray[np.float32]:
    """A row that finds the default box at `place`, and nothing else."""
    table = np.zeros((7, 8732), np.float32)
    table[4] = 1
    table[4 + label, place] = 0.9
    return table.reshape(-1)


def _log(folder: Path, responses: dict[int, bytes]) -> Path:
    path = folder / "mlperf_log_accuracy.json"
    lines = [
        json.dumps({"seq_id": 0, "qsl_idx": index, "data": data.hex()})
        for index, data in responses.items()
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return path


def _box(place: int) -> NDArray[np.float32]:
    x, y, width, height = default_box_array(LAYOUTS[300])[place]
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]).clip(0, 1)


def test_responses_have_mlperfs_seven_columns_and_score(tmp_path: Path) -> None:
    answers = answers_for(TASK)
    assert isinstance(answers, Detections)
    rows = np.array([4, 1])
    places = {4: 6000, 1: 7000}
    outputs = np.stack([_row(places[int(index)], 2) for index in rows])
    responses = answers.responses(rows, outputs)
    left, top, right, bottom = _box(6000)
    assert responses[0] == pytest.approx(np.array([[4, top, left, bottom, right, 0.9, 2]]))
    content = dict.fromkeys(range(5), b"")
    content |= {int(index): data.tobytes() for index, data in zip(rows, responses, strict=True)}
    truth = np.zeros((5, 1, 6))
    for index, place in places.items():
        truth[index, 0] = [*_box(place), 2, 0]
    np.save(tmp_path / "truth.npy", truth)
    accuracy, answered = answers.score(_log(tmp_path, content), tmp_path / "truth.npy", 5)
    assert accuracy == pytest.approx(1.0)
    assert answered == 5
    found, _ = read_detections(_log(tmp_path, content), 5)
    assert found[:, 0].tolist() == [1, 4]
    assert found[1, 1:5] == pytest.approx(_box(6000))


def test_a_log_that_lacks_samples_is_no_score(tmp_path: Path) -> None:
    np.save(tmp_path / "truth.npy", np.ones((2, 1, 6)))
    with pytest.raises(ValueError, match="answers 1 of 2 samples"):
        answers_for(TASK).score(_log(tmp_path, {0: b""}), tmp_path / "truth.npy", 2)
    with pytest.raises(ValueError, match="answers sample 7 of 2"):
        read_detections(_log(tmp_path, {7: b""}), 2)


def test_an_empty_task_is_classification_and_others_are_refused() -> None:
    assert isinstance(answers_for({}), Labels)
    with pytest.raises(InputError, match="must be detection or left out"):
        answers_for({"name": "segmentation"})
    assert Decoder(300, 3).row_length == 7 * 8732
