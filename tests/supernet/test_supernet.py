import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autosinian.errors import InputError
from autosinian.supernet import Supernet, open_supernet
from tests.supernet.conftest import small_config, write_checkpoint

PRETRAINED = Path(__file__).parents[2] / "pretrained"


def active_path(supernet: Supernet, x: torch.Tensor) -> torch.Tensor:
    """What the supernet itself computes for the subnet extracted last."""
    with torch.no_grad():
        output: torch.Tensor = supernet._net(x)
    return output


def test_an_extracted_subnet_equals_the_active_path(supernet: Supernet) -> None:
    rng = random.Random(0)
    x = torch.randn(2, 3, 40, 40)
    for subnet in (supernet.largest(40), supernet.smallest(40), supernet.sample(rng, 40)):
        module = supernet.extract(subnet)
        assert not module.training
        with torch.no_grad():
            torch.testing.assert_close(module(x), active_path(supernet, x), rtol=1e-4, atol=1e-5)


def test_an_extracted_subnet_is_a_copy(proxyless: Supernet) -> None:
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        first = proxyless.extract(proxyless.smallest(32))
        expected = first(x)
        for parameter in proxyless.extract(proxyless.smallest(32)).parameters():
            parameter.zero_()
        torch.testing.assert_close(proxyless.extract(proxyless.smallest(32))(x), expected)


def test_genes_of_skipped_blocks_do_not_make_another_subnet(supernet: Supernet) -> None:
    smallest = supernet.smallest(32)
    choices = supernet.genes.e
    other = replace(
        smallest,
        e=tuple(max(c) if e == 0 else e for e, c in zip(smallest.e, choices, strict=True)),
    )
    assert other != smallest
    assert supernet.canonical(other) == smallest
    assert supernet.canonical(other).key == smallest.key
    assert supernet.canonical(smallest) == smallest


@pytest.mark.parametrize(
    ("gene", "value", "words"),
    [("ks", 4, "3, 5, 7"), ("e", 5, "3, 4, 6"), ("d", 9, "2, 3, 4")],
)
def test_an_impossible_gene_is_refused_with_the_allowed(
    proxyless: Supernet, gene: str, value: int, words: str
) -> None:
    largest = proxyless.largest(32)
    genes: Any = {gene: (value, *getattr(largest, gene)[1:])}
    with pytest.raises(InputError, match=words) as caught:
        proxyless.validate(replace(largest, **genes))
    assert f"{gene}[0]" in str(caught.value) and str(value) in str(caught.value)


def test_too_few_genes_are_refused(supernet: Supernet) -> None:
    largest = supernet.largest(32)
    with pytest.raises(InputError, match="genes `e`"):
        supernet.validate(replace(largest, e=largest.e[:-1]))


def test_samples_are_valid_canonical_and_repeatable(supernet: Supernet) -> None:
    first = [supernet.sample(random.Random(s), 32) for s in range(10)]
    assert first == [supernet.sample(random.Random(s), 32) for s in range(10)]
    for subnet in first:
        supernet.validate(subnet)
        assert supernet.canonical(subnet) == subnet


def test_uniform_subnets_are_each_kernel_expansion_and_depth(proxyless: Supernet) -> None:
    uniform = proxyless.uniform(32)
    assert len(uniform) == len(set(uniform)) == 27
    assert proxyless.largest(32) in uniform and proxyless.smallest(32) in uniform


def test_a_half_precision_checkpoint_gives_a_float_network(tmp_path: Path) -> None:
    opened = open_supernet(
        write_checkpoint(tmp_path / "h.pt", small_config("proxyless"), half=True)
    )
    module = opened.extract(opened.largest(32))
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert opened.classes == 5 and opened.resolutions == (32, 40) and len(opened.sha256) == 64


def test_weights_of_another_supernet_are_refused_in_one_line(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", small_config("proxyless"))
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["supernet"]["width_mult"] = 0.5
    torch.save(checkpoint, path)
    with pytest.raises(InputError) as caught:
        open_supernet(path)
    assert "\n" not in str(caught.value) and "width 0.5" in str(caught.value)


def test_weights_of_another_family_are_refused_in_one_line(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", small_config("proxyless"))
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["supernet"]["family"] = "mobilenet_v3"
    torch.save(checkpoint, path)
    with pytest.raises(InputError) as caught:
        open_supernet(path)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", small_config("proxyless"))
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["state_dict"]["classifier.linear.weight"]
    torch.save(checkpoint, path)
    with pytest.raises(InputError):
        open_supernet(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04cut"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pt"):
        open_supernet(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        open_supernet(tmp_path / "absent.pt")


def test_a_wrong_number_of_classes_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", small_config("proxyless"))
    with pytest.raises(InputError, match="10 classes"):
        open_supernet(path, classes=10)


def test_a_failed_download_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InputError) as caught:
        open_supernet("ofa_mbv3_d234_e346_k357_w1.0")
    assert "\n" not in str(caught.value) and "local checkpoint" in str(caught.value)


def test_random_hub_weights_are_the_same_each_time() -> None:
    first, second = (open_supernet("random:ofa_proxyless_d234_e346_k357_w1.3") for _ in range(2))
    assert first.sha256 == second.sha256
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            first.extract(first.smallest(128))(x), second.extract(second.smallest(128))(x)
        )


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_shipped_supernets_open_and_are_small(name: str) -> None:
    path = PRETRAINED / f"{name}.pt"
    assert path.stat().st_size < 16e6
    opened = open_supernet(path, classes=10)
    assert opened.sha256 in (PRETRAINED / "README.md").read_text()
    opened.extract(opened.smallest(min(opened.resolutions)))
