import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.cli.main import main
from autosinian.detection.decoded import Decoder
from autosinian.errors import InputError
from autosinian.measure.answers import Detections, answers_for
from autosinian.native.compile import compile_detections
from autosinian.native.detections import find_library, library_path

CLASSES, BOXES = 4, 8732
TASK: dict[str, int | str] = {"name": "detection", "image_size": 300, "classes": CLASSES}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield compile_detections()


def table(images: int, seed: int, likely: float) -> NDArray[np.float32]:
    """Rows of random offsets and scores; so many boxes of a class have scores above 0.05."""
    generator = np.random.default_rng(seed)
    offsets = generator.normal(0, 1, (images, 4, BOXES))
    scores = generator.random((images, CLASSES, BOXES)) ** 2
    scores[generator.random(scores.shape) > likely] = 0.01
    return np.concatenate((offsets, scores), axis=1).astype(np.float32)


def both(rows: NDArray[np.float32], indices: NDArray[np.int64]) -> None:
    compiled, plain = answers_for(TASK), Detections(Decoder(300, CLASSES))
    assert isinstance(compiled, Detections)
    assert (compiled.made_by, plain.made_by) == ("c++", "numpy")
    outputs = rows.reshape(len(rows), -1)
    given, expected = compiled.responses(indices, outputs), plain.responses(indices, outputs)
    assert len(given) == len(expected) == len(rows)
    for found, wanted in zip(given, expected, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_array_equal(found[:, [0, 5, 6]], wanted[:, [0, 5, 6]])
        np.testing.assert_allclose(found[:, 1:5], wanted[:, 1:5], rtol=0, atol=1e-6)


@pytest.mark.parametrize("likely", [0.0, 0.001, 0.02, 1.0])
def test_the_same_detections_as_numpys(library: Path, likely: float) -> None:
    both(table(5, 0, likely), np.array([9, 0, 3, 3, 100]))


def test_equal_scores_come_in_the_order_of_their_boxes(library: Path) -> None:
    rows = table(2, 1, 0.05)
    rows[:, 4:] = np.round(rows[:, 4:], 1)
    both(rows, np.arange(2))


def test_what_is_no_number_is_no_detection_or_covers_nothing(library: Path) -> None:
    rows = table(2, 2, 0.01)
    rows[0, 5, ::2] = np.nan
    rows[1, :4, ::3] = np.nan
    both(rows, np.arange(2))


def test_many_images_in_several_threads(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autosinian.measure.answers.usable_cores", lambda: 32)
    both(table(24, 3, 0.01), np.arange(24)[::-1].copy())


def test_rows_of_another_length_are_refused(library: Path) -> None:
    answers = answers_for(TASK)
    assert isinstance(answers, Detections)
    with pytest.raises(ValueError, match="outputs must be 1 x 69856, got 1 x 5"):
        answers.responses(np.arange(1), np.zeros((1, 5), np.float32))


def test_without_it_numpy_answers_and_it_is_removed_by_command(
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_library() is None
    answers = answers_for(TASK)
    assert isinstance(answers, Detections)
    assert answers.made_by == "numpy"
    library_path().parent.mkdir(parents=True)
    shutil.copyfile(library, library_path())
    assert find_library() == library_path()
    assert main(["compile-sut", "--remove"]) == 0
    assert capsys.readouterr().out == f"removed {library_path()}\n"
    assert find_library() is None


def test_a_library_that_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library_path().parent.mkdir(parents=True)
    library_path().write_text("no library")
    with pytest.raises(InputError, match=r"must load, but .*detections\.so does not"):
        answers_for(TASK)


def test_a_missing_compiler_is_named() -> None:
    with pytest.raises(InputError, match="a C\\+\\+ compiler must be installed, but `no-such-c"):
        compile_detections(compiler="no-such-compiler")
