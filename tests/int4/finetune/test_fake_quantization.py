"""The forward pass of training is that of the integers, its gradients theirs."""

import pytest
import torch

from autosinian.int4.finetune.fake_quantization import FakeQuantized, _Requantize
from autosinian.int4.finetune.folded import FoldedNetwork
from tests.int4.finetune.small_network import images, ofa_like, quantized, resnet

MIXED = ("layer1_0_conv1", "layer2_0_conv3")


@pytest.mark.parametrize("int8", [(), MIXED], ids=["int4", "mixed"])
@pytest.mark.parametrize("network", [resnet(), ofa_like()], ids=["resnet", "ofa"])
def test_logits_and_gradients_are_those_of_the_exact_pass(
    network: FoldedNetwork, int8: tuple[str, ...]
) -> None:
    net = quantized(network, int8)
    inputs = images(16).double()
    found, gradients = [], []
    for forward in (net, FakeQuantized(net)):
        net.zero_grad()
        logits = forward(inputs)
        torch.autograd.backward(logits.square().sum())
        found.append(logits.detach())
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    assert found[0].std() > 0.1
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-6)
    for name, expected in gradients[0].items():
        assert expected is not None
        largest = float(expected.abs().max())
        torch.testing.assert_close(
            gradients[1][name], expected, rtol=1e-3, atol=1e-4 * largest, msg=name
        )


@pytest.mark.parametrize(("kind", "limit"), [(torch.float32, 0.001), (torch.bfloat16, 0.1)])
def test_in_fewer_bits_logits_are_near_and_gradients_are_finite(
    kind: torch.dtype, limit: float
) -> None:
    net = quantized(resnet())
    inputs = images(32)
    exact = net(inputs).detach()
    near = FakeQuantized(net)(inputs.to(kind))
    assert near.dtype == torch.float32
    error = (near.detach() - exact).square().mean() / exact.var()
    assert float(error) < limit
    torch.autograd.backward(near.square().sum())
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.dtype == torch.float32, name


def test_rounding_in_bfloat16_has_no_bias() -> None:
    torch.manual_seed(0)
    sums = (torch.randn(64, 16, 32, 32) * 300 + 200).round().to(torch.bfloat16)
    multiplier, bias = torch.rand(16) * 0.02 + 0.01, torch.randn(16) * 0.3
    no = None
    exact = _Requantize.apply(sums.float(), multiplier, bias + 0.5, no, no, no, 0, 15, 0.5)
    near = _Requantize.apply(sums, multiplier, bias, no, no, no, 0, 15, 0.0)
    # Half a unit in the last place of values near 8 would be a bias of 0.012.
    assert float((near.float() - exact).mean()) == pytest.approx(0, abs=2e-3)
    assert float((near.float() != exact).float().mean()) < 0.05
