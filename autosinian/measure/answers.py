"""What a response to LoadGen holds and how a run is scored: one implementation a task.

A classifier's response is its label as a little-endian int64. A detector's is what MLPerf's
reference writes: seven float32 for each detection, the sample's index, y and x of the top left
and of the bottom right corner in parts of the image, the score and the class.
"""

import json
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autosinian.detection.anchors import CENTRE_VARIANCE, SIZE_VARIANCE, default_box_array
from autosinian.detection.decoded import Decoder
from autosinian.detection.layout import layout_for
from autosinian.engine.processor import usable_cores
from autosinian.errors import InputError
from autosinian.measure.logs import accuracy_of
from autosinian.native.detections import CompiledDetections, find_library
from autosinian.native.loadgen import load

mlperf_loadgen = load()

_LABEL_BYTES = 8
_DETECTION_COLUMNS = 7
_MOST_THREADS, _CORES_A_THREAD = 8, 4


class Collected(Protocol):
    """Answers to the samples of one Offline query, kept until their responses are made."""

    def take(self, start: int, rows: NDArray[np.int64], outputs: NDArray[np.float32]) -> None:
        """Keep what answers samples `rows` from position `start` on; `outputs` is `n x length`.

        Called in the thread that completes a batch, whose memory is used again afterwards.
        """
        ...

    def complete(self, ids: list[int], start: int) -> None:
        """Answer queries `ids` with what was taken at `start`."""
        ...


class Answers(Protocol):
    """One task's responses and score."""

    def complete(
        self, ids: list[int], rows: NDArray[np.int64], outputs: NDArray[np.float32]
    ) -> None:
        """Answer queries `ids` for samples `rows` from `outputs`, `n x length`."""
        ...

    def collect(self, count: int) -> Collected:
        """Room for the answers to `count` samples."""
        ...

    def score(self, accuracy_log: Path, truth: Path, count: int) -> tuple[float, int]:
        """Accuracy as a fraction, and how many of `count` samples were answered.

        Raises `ValueError` where the log does not answer every sample.
        """
        ...


def answers_for(task: Mapping[str, Any]) -> Answers:
    """The answers of a job's `task`; an empty one is classification.

    Raises `InputError` for a task that there is none for.
    """
    if not task:
        return Labels()
    if task.get("name") != "detection":
        raise InputError(f"a job's task must be detection or left out, but got {dict(task)}")
    decoder = Decoder(int(task["image_size"]), int(task["classes"]))
    return Detections(decoder, _compiled(decoder))


def _compiled(decoder: Decoder) -> CompiledDetections | None:
    library = find_library()
    if library is None:
        return None
    rule = decoder.rule
    return CompiledDetections(
        library,
        default_box_array(layout_for(decoder.image_size)),
        decoder.classes,
        variances=(CENTRE_VARIANCE, SIZE_VARIANCE),
        score=rule.score,
        overlap=rule.overlap,
        candidates=rule.candidates,
        kept=rule.kept,
        # An engine on the processor needs the cores itself.
        threads=max(1, min(_MOST_THREADS, usable_cores() // _CORES_A_THREAD)),
    )


class Labels:
    """Classification: the largest logit's place."""

    def complete(
        self, ids: list[int], rows: NDArray[np.int64], outputs: NDArray[np.float32]
    ) -> None:
        """Answer with labels."""
        labels = outputs.argmax(axis=1)
        _complete_labels(ids, labels.__array_interface__["data"][0])

    def collect(self, count: int) -> Collected:
        """One array of labels."""
        return _CollectedLabels(count)

    def score(self, accuracy_log: Path, truth: Path, count: int) -> tuple[float, int]:
        """The fraction of right labels; `truth` is an `.npy` of int64, `count`."""
        return accuracy_of(accuracy_log, np.load(truth, allow_pickle=False))


class _CollectedLabels:
    def __init__(self, count: int) -> None:
        self._labels = np.empty(count, np.int64)
        self._first = self._labels.ctypes.data

    def take(self, start: int, rows: NDArray[np.int64], outputs: NDArray[np.float32]) -> None:
        outputs.argmax(axis=1, out=self._labels[start : start + len(outputs)])

    def complete(self, ids: list[int], start: int) -> None:
        _complete_labels(ids, self._first + _LABEL_BYTES * start)


def _complete_labels(ids: list[int], first_label: int) -> None:
    """Answer queries `ids` with consecutive int64 labels from the address `first_label` on."""
    pointers = range(first_label, first_label + _LABEL_BYTES * len(ids), _LABEL_BYTES)
    # LoadGen copies the data before this returns.
    mlperf_loadgen.QuerySamplesComplete(
        list(map(mlperf_loadgen.QuerySampleResponse, ids, pointers, repeat(_LABEL_BYTES)))
    )


class Detections:
    """Detection: boxes behind non-maximum suppression, which is part of what is timed.

    `compiled` makes the same of an engine's outputs faster, where it was compiled.
    """

    def __init__(self, decoder: Decoder, compiled: CompiledDetections | None = None) -> None:
        self._decoder = decoder
        self._compiled = compiled

    @property
    def made_by(self) -> str:
        """What chooses the boxes: `c++` or `numpy`."""
        return "c++" if self._compiled else "numpy"

    def complete(
        self, ids: list[int], rows: NDArray[np.int64], outputs: NDArray[np.float32]
    ) -> None:
        """Answer with detections."""
        _complete_detections(ids, self.responses(rows, outputs))

    def collect(self, count: int) -> Collected:
        """Each batch's detections."""
        return _CollectedDetections(self)

    def responses(
        self, rows: NDArray[np.int64], outputs: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """The responses for samples `rows`, float32 `detections x 7` each."""
        if self._compiled is not None:
            return self._compiled.responses(rows, outputs)
        found = []
        for index, output in zip(rows.tolist(), outputs, strict=True):
            boxes = self._decoder.decode(output)
            response = np.empty((len(boxes), _DETECTION_COLUMNS), np.float32)
            response[:, 0] = index
            response[:, 1:5] = boxes[:, [1, 0, 3, 2]]
            response[:, 5:] = boxes[:, 4:]
            found.append(response)
        return found

    def score(self, accuracy_log: Path, truth: Path, count: int) -> tuple[float, int]:
        """COCO mAP; `truth` is an `.npy` of float64, `count x most x 6`."""
        from autosinian.detection.precision import precision_of

        found, answered = read_detections(accuracy_log, count)
        if answered != count:
            raise ValueError(f"the accuracy log answers {answered} of {count} samples")
        boxes = np.load(truth, allow_pickle=False)
        return precision_of(found, boxes, self._decoder.classes).mean / 100, answered


class _CollectedDetections:
    def __init__(self, answers: Detections) -> None:
        self._answers = answers
        self._taken: dict[int, list[NDArray[np.float32]]] = {}

    def take(self, start: int, rows: NDArray[np.int64], outputs: NDArray[np.float32]) -> None:
        self._taken[start] = self._answers.responses(rows, outputs)

    def complete(self, ids: list[int], start: int) -> None:
        _complete_detections(ids, self._taken.pop(start))


def _complete_detections(ids: list[int], responses: list[NDArray[np.float32]]) -> None:
    mlperf_loadgen.QuerySamplesComplete(
        [
            mlperf_loadgen.QuerySampleResponse(
                query, response.__array_interface__["data"][0], response.nbytes
            )
            for query, response in zip(ids, responses, strict=True)
        ]
    )


def read_detections(accuracy_log: Path, count: int) -> tuple[NDArray[np.float32], int]:
    """Detections of a run, `n x 7` (sample, left, top, right, bottom, score, class), and how many
    of `count` samples it answered.

    A sample that was answered more than once counts as it was answered first.
    """
    entries: dict[int, NDArray[np.float32]] = {}
    with accuracy_log.open() as stream:
        for line in stream:
            line = line.strip().lstrip("[").rstrip(",]").strip()
            if not line:
                continue
            entry = json.loads(line)
            values = np.frombuffer(bytes.fromhex(entry["data"]), "<f4")
            entries.setdefault(int(entry["qsl_idx"]), values.reshape(-1, _DETECTION_COLUMNS))
    rows = [np.empty((0, _DETECTION_COLUMNS), np.float32)]
    for index, boxes in sorted(entries.items()):
        if not 0 <= index < count:
            raise ValueError(f"the accuracy log answers sample {index} of {count}")
        rows.append(boxes[:, [0, 2, 1, 4, 3, 5, 6]])
        rows[-1][:, 0] = index
    return np.concatenate(rows), len(entries)
