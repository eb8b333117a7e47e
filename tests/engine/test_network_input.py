import numpy as np
import pytest

from autosinian.engine.network_input import NetworkInput

SHAPE = (2, 3, 4)


@pytest.mark.parametrize(("kind", "size"), [("float32", 96), ("float16", 48), ("int8", 24)])
def test_a_sample_has_the_bytes_of_its_type(kind: str, size: int) -> None:
    assert NetworkInput(kind, SHAPE).sample_bytes == size


def test_int8_rounds_halves_to_even_and_clips_symmetrically() -> None:
    wanted = NetworkInput("int8", (1, 1, 8), 0.5)
    values = [0.25, 0.75, 1.25, -0.25, -0.75, 63.5, 1000, -1000]
    samples = np.array(values, np.float32).reshape(1, 1, 1, 8)
    assert wanted.converted(samples).ravel().tolist() == [0, 2, 2, 0, -2, 127, 127, -127]
    assert wanted.converted(samples).dtype == np.int8


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_samples_are_copied_and_left_as_they_were(kind: str) -> None:
    samples = np.random.default_rng(0).standard_normal((3, *SHAPE)).astype(np.float32)
    before = samples.copy()
    given = NetworkInput(kind, SHAPE, 0.1).converted(samples[::2])
    assert given.flags.c_contiguous
    assert given.shape == (2, *SHAPE)
    assert not np.shares_memory(given, samples)
    np.testing.assert_array_equal(samples, before)
