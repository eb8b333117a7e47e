import pytest
import torch
from torch import nn
from torch.nn import functional

from autosinian.encodings.calibrated import calibrate
from autosinian.encodings.configuration import symmetric_configuration
from autosinian.encodings.encoding import Encodings, encode_range
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.simulate import Round, WholeLayer, simulate, whole_weights
from autosinian.equalize.equalize import folded
from autosinian.errors import InputError
from tests.encodings.networks import calibrated
from tests.equalize.networks import greatest_error, images, settle


def test_rounding_by_hand() -> None:
    rounding = Round(encode_range(-1.0, 127.0, symmetric=True))
    given = torch.tensor([-200.0, -1.5, -0.4, 0.5, 1.5, 126.6, 300.0])
    assert rounding(given).tolist() == [-128.0, -2.0, 0.0, 0.0, 2.0, 127.0, 127.0]
    unsigned = Round(encode_range(0.0, 255.0, symmetric=True))
    assert unsigned(given).tolist() == [0.0, 0.0, 0.0, 0.0, 2.0, 127.0, 255.0]
    asymmetric = Round(encode_range(-55.0, 200.0, symmetric=False))
    assert asymmetric(given).tolist() == [-55.0, -2.0, 0.0, 0.0, 2.0, 127.0, 200.0]


def test_weights_are_rounded_to_nearest_per_tensor_and_per_channel() -> None:
    weight = torch.tensor([[1.27, -0.014], [0.127, 0.0016]])
    whole, scales = whole_weights(weight, (encode_range(-1, 1.27, symmetric=True),))
    assert whole.tolist() == [[127.0, -1.0], [13.0, 0.0]]
    per_channel = tuple(encode_range(-0.01, high, symmetric=True) for high in (1.27, 0.127))
    whole, scales = whole_weights(weight, per_channel)
    assert whole.tolist() == [[127.0, -1.0], [127.0, 2.0]]
    assert scales.tolist() == pytest.approx([0.01, 0.001])
    with pytest.raises(InputError, match="1 or 2 encodings, but has 3"):
        whole_weights(weight, (*per_channel, per_channel[0]))


def test_equal_inputs_give_equal_bits_in_any_batch_and_with_any_threads() -> None:
    simulated = calibrated().simulated(Exceptions(("box",), ("concat",)))
    inputs = images(7, seed=3)
    threads = torch.get_num_threads()
    with torch.no_grad():
        expected = simulated(inputs)
        again = calibrated().simulated(Exceptions(("box",), ("concat",)))(inputs)
        try:
            torch.set_num_threads(1 if threads > 1 else 2)
            singly = [simulated(inputs[index : index + 1]) for index in range(len(inputs))]
        finally:
            torch.set_num_threads(threads)
    for position, tensor in enumerate(expected):
        assert torch.equal(again[position], tensor)
        assert torch.equal(torch.cat([item[position] for item in singly]), tensor)


def test_int8_is_close_to_float_and_closer_in_higher_precision() -> None:
    subject = calibrated()
    inputs = images(16, seed=4)
    layers = ("conv", "block.conv1", "block.conv2", "box", "score")
    with torch.no_grad():
        expected = subject.network(inputs)[0]
        int8 = subject.simulated(Exceptions())(inputs)[0]
        mixed = subject.simulated(Exceptions(higher_precision=layers))(inputs)[0]
    assert 0.0 < greatest_error(mixed, expected) < greatest_error(int8, expected) < 0.05


def test_sums_beyond_float32_are_exact() -> None:
    module = settle(nn.Sequential(nn.Conv2d(600, 2, 3, bias=False)))
    network = folded(module).network
    inputs = torch.full((1, 600, 3, 3), 255.0)
    layer = network.get_submodule("0")
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.weight.fill_(127.0)
        layer.weight[0, 0, 0, 0] = 126.0
    whole = WholeLayer(
        layer,
        (encode_range(-1.0, 127.0, symmetric=True),),
        encode_range(0.0, 255.0, symmetric=True),
    )
    assert whole.chunks is not None and len(whole.chunks) > 1
    total = 600 * 9 * 255 * 127
    assert whole._sum(inputs).flatten().tolist() == [total - 255, total]


def test_linear_and_grouped_layers_are_simulated() -> None:
    module = settle(
        nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=4),
            nn.Flatten(),
            nn.Linear(8 * 144, 5),
        )
    )
    network = folded(module).network
    subject = calibrate(network, [images(8)], symmetric_configuration(per_channel=True))
    simulated = subject.simulated(Exceptions())
    assert sum(isinstance(part, WholeLayer) for part in simulated.modules()) == 3
    with torch.no_grad():
        assert greatest_error(simulated(images(8)), network(images(8))) < 0.05


def test_a_layer_whose_input_is_float_is_computed_in_float() -> None:
    module = settle(nn.Sequential(nn.Conv2d(3, 4, 1)))
    network = folded(module).network
    encodings = calibrate(network, [images(2)], symmetric_configuration()).encodings(Exceptions())
    weights_only = Encodings({}, encodings.parameters)
    simulated = simulate(network, weights_only)
    layer = simulated.get_submodule("0")
    original = network.get_submodule("0")
    assert isinstance(layer, nn.Conv2d) and isinstance(original, nn.Conv2d)
    scale = encodings.parameters["0.weight"][0].scale
    rounded = torch.round(original.weight / scale) * scale
    expected = functional.conv2d(images(2), rounded, original.bias)
    torch.testing.assert_close(simulated(images(2)), expected)


def test_encodings_of_another_network_are_bad_input() -> None:
    subject = calibrated()
    encodings = subject.encodings(Exceptions())
    for section in ("activations", "parameters"):
        parts = {"activations": encodings.activations, "parameters": encodings.parameters}
        parts[section] = {**parts[section], "elsewhere": encodings.activations["relu"]}
        with pytest.raises(InputError, match="`elsewhere`"):
            simulate(subject.network, Encodings(**parts))
