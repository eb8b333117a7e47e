"""The table of subnets: words, features, folding, the model on it."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from autosinian.supernet import GeneSpace, Supernet, SupernetConfig, open_supernet
from autosinian.supernet.batch_norm import recalibrate_from_batches
from subnet_table.features import Genes, Ridge, block_features
from subnet_table.folding import fold, recalibrated
from subnet_table.next_generation import next_generation
from subnet_table.subnets import first_generation, subnet_of, word
from subnet_table.workers import read_rows

RESOLUTIONS = (64, 80, 96)
CHECKPOINT = Path(__file__).parents[2] / "pretrained" / "cifar10.pt"
GENES = GeneSpace.of(SupernetConfig.make("proxyless", width_mult=1.2, classes=10))


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return open_supernet(CHECKPOINT)


def test_the_first_generation_is_distinct_canonical_and_of_all_origins() -> None:
    chosen = dict(first_generation(GENES, RESOLUTIONS, 200, 0))
    assert len(chosen) == 200
    assert set(chosen.values()) == {"uniform", "random", "tilted"}
    for text in chosen:
        subnet = subnet_of(text)
        assert word(subnet) == text
        assert GENES.canonical(subnet) == subnet
    assert Genes.read(list(chosen)).words() == list(chosen)


def test_the_next_generation_is_new_and_better_on_what_decides() -> None:
    words = list(dict(first_generation(GENES, RESOLUTIONS, 150, 0)))
    size = {text: float(block_features(Genes.read([text])).sum()) for text in words}
    accuracy = {text: sum(map(int, text.split("-")[2])) / 1000 for text in words}
    chosen = next_generation(accuracy, {"blocks": size}, GENES, RESOLUTIONS, 20, 0)
    assert len(set(chosen)) == 20 and not set(chosen) & set(words)

    def value(text: str) -> float:
        kernels = text.split("-")[2]
        return sum(map(int, kernels)) / sum(k != "0" for k in kernels)

    assert np.mean([value(t) for t in chosen]) > np.mean([value(t) for t in words])


def test_a_folded_subnet_answers_as_the_subnet(supernet: Supernet) -> None:
    module = supernet.extract(supernet.sample(random.Random(1), 64))
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(fold(module)(images), module(images), atol=1e-4)


def test_recalibration_on_one_batch_is_that_of_the_product(supernet: Supernet) -> None:
    module = supernet.extract(supernet.smallest(64))
    images = torch.randn(24, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = recalibrated(module, images)(images)
        recalibrate_from_batches(module, iter([images]))
        assert torch.allclose(ours, module(images), atol=1e-3)


def test_ridge_finds_a_linear_rule_with_fewer_rows_than_columns_and_with_more() -> None:
    rng = np.random.default_rng(0)
    for rows in (20, 200):
        x = rng.normal(size=(rows, 40))
        target = x[:, 0] * 2 - x[:, 1] + 3
        model = Ridge.fit(x, target, 1e-6)
        assert np.allclose(model(x), target, atol=1e-3)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3")
    assert read_rows(path) == [{"a": "1", "b": "2"}]
