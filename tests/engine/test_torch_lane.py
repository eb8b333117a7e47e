"""Samples as torch's lanes hold them."""

import pytest
import torch

from autosinian.engine.torch_lane import in_words


@pytest.mark.parametrize(
    ("dtype", "row", "words"),
    [
        (torch.int8, 24, torch.int64),
        (torch.int8, 27, torch.int8),
        (torch.float16, 12, torch.int64),
        (torch.float32, 3, torch.float32),
    ],
)
def test_rows_gathered_in_words_are_the_same_rows(
    dtype: torch.dtype, row: int, words: torch.dtype
) -> None:
    placed = torch.arange(5 * row).view(5, row).to(dtype)
    batch = torch.zeros(4, row, dtype=dtype)
    numbers = torch.tensor([4, 0, 0])
    assert in_words(placed).dtype == words
    torch.index_select(in_words(placed), 0, numbers, out=in_words(batch[:3]))
    assert torch.equal(batch[:3], placed[numbers])
    assert not batch[3].any()
