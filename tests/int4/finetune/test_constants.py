"""All constants at once are those of one layer after another."""

import pytest
import torch

from autosinian.int4.finetune.constants import INPUT, Constants
from autosinian.int4.finetune.folded import FoldedNetwork
from autosinian.int4.finetune.quantized import Trace
from tests.int4.finetune.small_network import images, ofa_like, quantized, resnet

MIXED = ("layer1_0_conv1", "layer2_0_conv3")


def with_a_tiny_channel() -> FoldedNetwork:
    """A channel whose bias would not fit, and one whose residual would not."""
    network = resnet()
    conv = network.layers[0][1].conv3
    conv.weight[2], conv.weight[3] = 1e-7, 1e-9
    conv.bias[2], conv.bias[3] = 4.0, 0.0
    return network


@pytest.mark.parametrize("int8", [(), MIXED], ids=["int4", "mixed"])
@pytest.mark.parametrize(
    "network", [resnet(), ofa_like(), with_a_tiny_channel()], ids=["resnet", "ofa", "tiny"]
)
def test_they_are_those_of_the_written_network(
    network: FoldedNetwork, int8: tuple[str, ...]
) -> None:
    net, trace = quantized(network, int8), Trace()
    with torch.no_grad():
        net(images(1), trace)
        constants, scales = Constants(net)()
    torch.testing.assert_close(scales[INPUT], net.input_scale)
    assert len(constants) == len(list(network.convs()))
    joined = 0
    for one in Constants(net).connections:
        own = constants[one.conv]
        assert torch.equal(own.weight, trace.weights[one.conv].weight), one
        assert torch.equal(own.bias, trace.weights[one.conv].bias), one
        factor, shift = trace.factors[one.writes]
        assert torch.equal(own.multiplier.double(), factor / 2.0 ** int(shift)), one
        assert torch.equal(scales[one.writes], net.step(one.writes).scale())
        if own.to_sums is not None:
            factors = [
                trace.factors[name]
                for name in (
                    one.conv.replace("conv3", "downsample"),
                    one.conv.replace("conv3", "downsample_2"),
                    one.conv.replace("_conv", "_downsample"),
                )
                if name in trace.factors
            ]
            (factor, shift) = factors[0]
            assert torch.equal(own.to_sums.double(), factor / 2.0 ** int(shift)), one
            joined += 1
    assert joined == len(list(network.blocks())) + sum(step.residual for step in network.stem)
