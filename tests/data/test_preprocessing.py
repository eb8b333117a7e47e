from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from autosinian.data.preprocessing import Preprocessing, imagenet_short_side
from autosinian.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RULE = Preprocessing(16, MEAN, STD)


def picture(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))


def torchvisions(image: Image.Image, resize: Any, resolution: int) -> NDArray[np.float32]:
    steps = [
        transforms.Resize(resize),
        transforms.CenterCrop(resolution),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    output: NDArray[np.float32] = transforms.Compose(steps)(image).numpy()
    return output


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(8, 48))
def test_resize_and_crop_equal_torchvisions_bit_for_bit(w: int, h: int, resolution: int) -> None:
    image, resize = picture(w, h), imagenet_short_side(resolution)
    ours = Preprocessing(resolution, MEAN, STD, resize=resize).apply(image)
    assert ours.dtype == np.float32
    assert np.array_equal(ours, torchvisions(image, resize, resolution))


def test_direct_resize_equals_torchvisions_bit_for_bit() -> None:
    image = picture(32, 28)
    expected = torchvisions(image, (48, 48), 48)
    assert np.array_equal(Preprocessing(48, MEAN, STD).apply(image), expected)


@pytest.mark.parametrize(("resolution", "short_side"), [(224, 256), (176, 202), (128, 147)])
def test_short_side_is_a_seventh_more_rounded_up(resolution: int, short_side: int) -> None:
    assert imagenet_short_side(resolution) == short_side


def test_int8_is_rounded_half_to_even_and_clipped_to_127() -> None:
    # White is exactly 1, so that mean -0.5, -1.5 and 0.5 make it 1.5, 2.5 and 0.5.
    white = Image.new("RGB", (8, 8), (255, 255, 255))
    rule = Preprocessing(8, (-0.5, -1.5, 0.5), (1.0, 1.0, 1.0), dtype="int8", scale=1.0)
    output = rule.apply(white)
    assert output.dtype == np.int8
    assert output[:, 0, 0].tolist() == [2, 2, 0]
    black = replace(rule, mean=(1.0, 0.5, -1.0), scale=0.001).apply(Image.new("RGB", (8, 8)))
    assert black[:, 0, 0].tolist() == [-127, -127, 127]


def test_chw4_holds_the_same_values_with_a_fourth_channel_of_zeros() -> None:
    plain = replace(RULE, dtype="int8", scale=0.02)
    padded = replace(plain, layout="chw4")
    image = picture(20, 20)
    output = padded.apply(image)
    assert output.shape == padded.shape == (16, 16, 4)
    assert np.array_equal(output[:, :, :3].transpose(2, 0, 1), plain.apply(image))
    assert not output[:, :, 3].any()


def test_a_rule_survives_its_trip_through_json() -> None:
    rule = replace(RULE, dtype="int8", scale=0.02, layout="chw4", resize=20)
    assert Preprocessing.from_rule(rule.rule()) == rule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 0}, "resolution must be"),
        ({"resize": 15}, "resize must be at least the resolution 16"),
        ({"interpolation": "nearest"}, "interpolation must be one of bilinear"),
        ({"dtype": "uint8"}, "dtype must be one of float32, int8"),
        ({"layout": "NHWC"}, "layout must be one of NCHW, chw4"),
        ({"dtype": "int8"}, "int8 needs a scale above 0, but got None"),
        ({"dtype": "int8", "scale": 0.0}, "int8 needs a scale above 0"),
        ({"dtype": "int8", "scale": float("nan")}, "int8 needs a scale above 0"),
        ({"scale": 0.1}, "for int8 only"),
        ({"layout": "chw4"}, "for int8 only"),
        ({"std": (0.0, 1.0, 1.0)}, "std above 0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "mean must be finite"),
    ],
)
def test_an_impossible_rule_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RULE, **change)
