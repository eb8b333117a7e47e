"""Accuracy in a submission: counted, told in accuracy.txt, its log cut and hashed."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.content import file_sha256
from autosinian.errors import AutosinianError
from autosinian.measure.logs import read_labels
from autosinian.mlperf import rules
from autosinian.mlperf.audit_judge import accuracy_line
from autosinian.mlperf.checker_runs import ACCURACY_TXT, CUT
from autosinian.mlperf.submission_logs import ACCURACY


def accuracy_text(folder: Path, truth: NDArray[np.int64]) -> str:
    """The accuracy line, counted anew from LoadGen's log in `folder` against the labels, `N`.

    Raises `AutosinianError` for a log that does not answer every sample.
    """
    try:
        labels, seen = read_labels(folder / ACCURACY, len(truth))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise AutosinianError(
            f"`{folder / ACCURACY}` must hold the answers, but: {error}"
        ) from error
    if not seen.all():
        raise AutosinianError(
            f"`{folder / ACCURACY}` must answer all {len(truth)} samples, but answers "
            f"{int(seen.sum())}"
        )
    return accuracy_line(np.asarray(labels == truth))


def write_accuracy(log: Path, folder: Path, text: str, kept: Path) -> None:
    """Write the log to `folder` as the official tool cuts it, accuracy.txt with `text` and the
    hash of the whole, and the whole log to `kept`, named by its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = file_sha256(log)
    (folder / ACCURACY_TXT).write_text(f"{text}hash={digest}\n")
    content = log.read_text(encoding="utf-8")
    if log.stat().st_size > rules.RETAINED_LOG_BYTES:
        size = rules.VIEWABLE_CHARACTERS
        content = f"{content[:size]}{CUT}{content[-size:]}"
    (folder / ACCURACY).write_text(content, encoding="utf-8")
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log, kept / f"{digest}.json")
