import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

from autosinian.supernet import Supernet, cost, recalibrate_batch_norm


def statistics(module: torch.nn.Module) -> list[torch.Tensor]:
    return [b.clone() for n, b in module.named_buffers() if "running" in n]


def test_recalibration_is_deterministic_and_equals_that_of_ofa(proxyless: Supernet) -> None:
    images = np.random.default_rng(0).normal(0, 1, (50, 3, 32, 32)).astype(np.float32)
    module = proxyless.extract(proxyless.smallest(32))
    before = statistics(module)
    recalibrate_batch_norm(module, images, batch_size=20)
    ours = statistics(module)
    assert any(not torch.allclose(a, b) for a, b in zip(before, ours, strict=True))
    again = proxyless.extract(proxyless.smallest(32))
    recalibrate_batch_norm(again, images, batch_size=20)
    assert all(torch.equal(a, b) for a, b in zip(ours, statistics(again), strict=True))
    theirs = proxyless.extract(proxyless.smallest(32))
    images = images[np.random.default_rng(0).permutation(50)]
    batches = [(torch.from_numpy(images[i : i + 20]), None) for i in range(0, 50, 20)]
    set_running_statistics(theirs, batches)
    for a, b in zip(ours, statistics(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not module.training


def test_recalibration_leaves_the_supernet_alone(proxyless: Supernet) -> None:
    before = statistics(proxyless.extract(proxyless.smallest(32)))
    module = proxyless.extract(proxyless.smallest(32))
    recalibrate_batch_norm(module, np.ones((4, 3, 32, 32), np.float32))
    after = statistics(proxyless.extract(proxyless.smallest(32)))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_macs_and_parameters_match_a_count_by_hand() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        torch.nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 10),
    )
    counted = cost(net, 32)
    assert counted.macs == 16 * 16 * (8 * 3 * 9 + 8 * 25) + 8 * 10
    assert counted.parameters == 8 * 3 * 9 + 8 * 25 + 8 * 10 + 10


def test_the_order_of_the_images_may_be_by_class(proxyless: Supernet) -> None:
    rng = np.random.default_rng(0)
    dark, bright = (rng.normal(c, 0.1, (40, 3, 32, 32)).astype(np.float32) for c in (-1, 1))
    by_class = np.concatenate([dark, bright])
    mixed = np.stack([dark, bright], 1).reshape(by_class.shape)
    found: list[torch.Tensor] = []
    for images in (by_class, mixed):
        module = proxyless.extract(proxyless.smallest(32))
        recalibrate_batch_norm(module, images, batch_size=40)
        found.append(dict(module.named_buffers())["first_conv.bn.running_var"])
    torch.testing.assert_close(found[0], found[1], rtol=0.1, atol=1e-4)
