"""What is trained, what is written and what runs it give the same bits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from autosinian.int4.bounds import bounds
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.finetune.emulation import correct_share, emulated_logits
from autosinian.int4.finetune.folded import FoldedNetwork
from autosinian.int4.finetune.integer_model import integer_model
from autosinian.int4.finetune.quantized import QuantizedNetwork
from autosinian.int4.model_reader import read_model
from autosinian.int4.model_writer import write_model
from autosinian.int4.network import Network
from tests.int4.finetune.small_network import RESOLUTION, images, ofa_like, quantized, resnet

MIXED = ("layer1_0_conv1", "layer1_1_conv2", "layer2_0_conv3", "layer2_1_conv1")


def reference(network: Network) -> np.ndarray:
    executor = CpuExecutor(network, threads=1)
    try:
        return executor.logits(images().numpy().astype(np.int8))
    finally:
        executor.close()


def trained(net: QuantizedNetwork) -> np.ndarray:
    with torch.no_grad():
        real = net(images())
    scale = integer_model(net, RESOLUTION).out_scale
    whole = real.double().numpy() * scale
    # The real logits are whole numbers times 1 / out_scale.
    assert np.abs(whole - whole.round()).max() < 0.01
    return np.asarray(whole.round().astype(np.int64))


@pytest.mark.parametrize(
    ("network", "int8"),
    [
        (resnet(), ()),
        (resnet(3), MIXED),
        (
            resnet(),
            tuple(f"layer{i}_{j}_conv{k}" for i in (1, 2) for j in (0, 1) for k in (1, 2, 3)),
        ),
        (ofa_like(), ()),
        (ofa_like(), ("conv1_1_conv", "layer2_0_conv1")),
    ],
    ids=["int4", "mixed", "int8", "ofa", "ofa mixed"],
)
def test_the_forward_pass_of_training_equals_the_integer_reference_bit_for_bit(
    network: FoldedNetwork, int8: tuple[str, ...]
) -> None:
    net = quantized(network, int8)
    written = integer_model(net, RESOLUTION)
    expected = reference(written)
    assert np.ptp(expected) > 1000
    np.testing.assert_array_equal(trained(net), expected)
    emulated = emulated_logits(
        written, images().numpy().astype(np.int8), torch.device("cpu"), batch_size=4
    )
    np.testing.assert_array_equal(emulated, expected)


def test_training_in_float64_computes_the_same_integers() -> None:
    net = quantized(resnet())
    with torch.no_grad():
        single, double = net(images()), net(images().double())
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=0)


def test_a_written_network_reads_back_as_the_same_integers(tmp_path: Path) -> None:
    written = integer_model(quantized(resnet(), MIXED), RESOLUTION)
    write_model(written, tmp_path / "model")
    read = read_model(tmp_path / "model")
    assert [conv.weight_bits for conv in read.convs()] == [c.weight_bits for c in written.convs()]
    np.testing.assert_array_equal(reference(read), reference(written))


def test_products_of_every_rescaling_stay_within_32_bits() -> None:
    for network in (resnet(), ofa_like()):
        assert bounds(integer_model(quantized(network), RESOLUTION)).wide() == ()


def test_layers_kept_in_8_bits_read_u7_and_have_8_bit_weights() -> None:
    network = integer_model(quantized(resnet(), ("layer2_0_conv1",)), RESOLUTION)
    eight = [c.name for c in network.convs() if c.weight_bits == 8]
    assert eight == ["conv1", "layer2_0_downsample_0", "layer2_0_conv1"]
    reads = {conv.name: conv.input_type for conv in network.convs()}
    assert {name for name, kind in reads.items() if kind == "u7"} == set(eight[1:])
    assert reads["conv1"] == "s8"


def test_a_channel_of_tiny_weights_and_a_large_bias_keeps_its_bias() -> None:
    network = resnet()
    conv = network.layers[0][1].conv3
    conv.weight[2] = 1e-7
    conv.bias[2] = 4.0
    net = quantized(network)
    written = integer_model(net, RESOLUTION)
    np.testing.assert_array_equal(trained(net), reference(written))
    layer = written.layers[0][1].conv3
    assert abs(int(layer.bias[2])) <= 32767
    assert int(layer.bias[2]) > 20000


def test_the_share_of_right_labels_is_of_scaled_logits() -> None:
    network = integer_model(quantized(resnet()), RESOLUTION)
    logits = np.zeros((2, network.classes), np.int32)
    # Class 1 has the greater integer, class 0 the greater value.
    logits[:, 0] = np.ceil(5 * network.out_scale[0])
    logits[:, 1] = np.floor(4 * network.out_scale[1])
    assert correct_share(network, logits, np.array([0, 1])) == 0.5
