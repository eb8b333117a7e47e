from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.calibrate import (
    collect_histograms,
    collect_ranges,
    ranges_from_histograms,
)
from autosinian.quantize.export import export_onnx
from autosinian.quantize.threshold import METHODS
from tests.quantize.networks import images


def test_minmax_scales_are_the_greatest_activations_over_127(plain: Path) -> None:
    inputs = images(20, 0, 16)
    ranges = collect_ranges(plain, inputs, "minmax", batch_size=7)
    model = onnx.load(plain)
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in ranges.scales if name != "images"
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    tensors = {"images": inputs}
    for item in session.get_outputs():
        tensors[item.name] = session.run([item.name], {"images": inputs})[0]
    assert next(iter(ranges.scales)) == "images"
    assert len(ranges.scales) == 4
    for name, scale in ranges.scales.items():
        assert isinstance(scale, np.float32)
        assert scale == pytest.approx(np.abs(tensors[name]).max() / 127, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_do_not_depend_on_the_batch_size(plain: Path, method: str) -> None:
    inputs = images(20, 0, 16)
    whole = collect_ranges(plain, inputs, method, batch_size=20)
    parts = collect_ranges(plain, inputs, method, batch_size=3)
    for name, scale in whole.scales.items():
        assert parts.scales[name] == pytest.approx(scale, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_saturates_the_images(plain: Path, method: str) -> None:
    inputs = np.full((20, 3, 16, 16), 0.8, np.float32)  # one background, as Fashion-MNIST has
    inputs[:, :, 4:8, 4:8] = images(20, 0, 4) * 2
    ranges = collect_ranges(plain, inputs, method)
    assert ranges.scales["images"] == pytest.approx(np.abs(inputs).max() / 127)


def test_histograms_once_serve_all_methods(plain: Path) -> None:
    inputs = images(20, 0, 16)
    histograms = collect_histograms(plain, inputs)
    for method in METHODS:
        assert ranges_from_histograms(histograms, method) == collect_ranges(plain, inputs, method)


def test_a_memory_mapped_file_serves_as_input(plain: Path, tmp_path: Path) -> None:
    inputs = images(6, 0, 16)
    np.save(tmp_path / "inputs.npy", inputs)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    assert collect_ranges(plain, mapped, "minmax") == collect_ranges(plain, inputs, "minmax")


def test_a_dead_tensor_gets_a_scale_that_holds_zero(tmp_path: Path) -> None:
    convolution = torch.nn.Conv2d(3, 4, 1)
    torch.nn.init.constant_(convolution.bias, -1e6)  # type: ignore[arg-type]
    module = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 1))
    export_onnx(module, 8, tmp_path / "model.onnx")
    for method in METHODS:
        ranges = collect_ranges(tmp_path / "model.onnx", images(2, 0, 8), method)
        assert list(ranges.scales.values())[1] == np.float32(1)


def test_a_calibration_set_of_zero_images_is_bad_input(plain: Path) -> None:
    with pytest.raises(InputError, match="at least one image"):
        collect_ranges(plain, np.empty((0, 3, 16, 16), np.float32), "minmax")


@pytest.mark.parametrize("shape", [(4, 3, 16, 8), (4, 1, 16, 16), (4, 768), (4,)])
def test_images_of_another_shape_are_bad_input(plain: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="N x 3 x 16 x 16, but got float32, 4"):
        collect_ranges(plain, np.zeros(shape, np.float32), "minmax")


def test_images_of_another_type_are_bad_input(plain: Path) -> None:
    with pytest.raises(InputError, match="but got float64"):
        collect_ranges(plain, np.zeros((4, 3, 16, 16)), "minmax")  # type: ignore[arg-type]


def test_an_unknown_method_is_bad_input(plain: Path) -> None:
    with pytest.raises(InputError, match="minmax, entropy, percentile, but got `max`"):
        collect_ranges(plain, images(1, 0, 16), "max")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_activations_that_are_not_finite_fail_the_trial(
    tmp_path: Path, method: str, bad: float
) -> None:
    convolution = torch.nn.Conv2d(3, 4, 1)
    convolution.weight.data[2, 1] = bad
    module = torch.nn.Sequential(convolution, torch.nn.Conv2d(4, 4, 1))
    export_onnx(module, 8, tmp_path / "model.onnx")
    with pytest.raises(TrialFailure, match="finite") as caught:
        collect_ranges(tmp_path / "model.onnx", images(2, 0, 8), method)
    assert caught.value.stage == "quantize"


def test_max_pooling_keeps_the_scale_of_its_input(tmp_path: Path) -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 1), torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 4, 1)
    )
    export_onnx(module, 8, tmp_path / "model.onnx")
    for method in METHODS:
        ranges = collect_ranges(tmp_path / "model.onnx", images(4, 0, 8), method)
        _, before, behind = ranges.scales.values()
        assert before == behind
