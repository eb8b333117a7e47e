"""New calibration and validation sets by replacing maps and images."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from autosinian.errors import InputError
from autosinian.export.bundle import CALIBRATOR_CACHE, INIT, NET_CONFIG, NETWORK, Bundle, seal
from autosinian.mlperf.calibration import algorithm_named, calibrate
from autosinian.mlperf.harness import build_for
from autosinian.mlperf.preprocess import preprocess
from autosinian.mlperf.request import Request, settle
from autosinian.mlperf.samples import validation_samples
from autosinian.mlperf.source import Source, open_source
from autosinian.quantize.ranges import read_ranges
from tests.mlperf.small_bundle import CALIBRATION, silent


@pytest.fixture
def source(small_bundle: Bundle) -> Source:
    return open_source(small_bundle.folder)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made for all tests here."""
    return tmp_path_factory.mktemp("work") / "build"


def images(folder: Path, brightness: int = 255) -> Path:
    """Eight images; a calibration map without labels and one for validation."""
    folder.mkdir(exist_ok=True)
    for index in range(8):
        colour = (brightness * index // 8,) * 3
        Image.new("RGB", (28, 28), colour).save(folder / f"{index}.png")
    (folder / "cal_map.txt").write_text("".join(f"{i}.png\n" for i in range(4)))
    (folder / "val_map.txt").write_text("".join(f"{i}.png {i}\n" for i in range(2, 8)))
    return folder


def test_the_exports_own_images_give_the_exports_ranges(
    source: Source, build: Path, tmp_path: Path
) -> None:
    found = calibrate(source, tmp_path / "cache", build, algorithm="min-max", limit=CALIBRATION)
    assert found.images == CALIBRATION
    own = source.folder / CALIBRATOR_CACHE
    assert (tmp_path / "cache").read_bytes() == own.read_bytes()


@pytest.mark.parametrize("algorithm", ["entropy", "percentile"])
def test_other_algorithms_give_other_ranges(
    source: Source, build: Path, tmp_path: Path, algorithm: str
) -> None:
    percentile = 99.0 if algorithm == "percentile" else None
    calibrate(
        source, tmp_path / "cache", build, algorithm=algorithm, percentile=percentile, limit=8
    )
    ranges = read_ranges(tmp_path / "cache")
    assert ranges.method == algorithm
    assert ranges.scales != read_ranges(source.folder / CALIBRATOR_CACHE).scales


def test_a_new_map_gives_a_new_engine(source: Source, build: Path, tmp_path: Path) -> None:
    data = images(tmp_path / "images")
    file = tmp_path / "new" / "calibrator.cache"
    found = calibrate(source, file, build, data=data, cal_map=data / "cal_map.txt")
    assert (found.images, found.algorithm) == (4, "entropy")
    asked = Request("Offline", build=build, calibrator_cache=file)
    (serving,) = settle(source, asked, silent)
    first = build_for(source, asked, serving, silent)
    again = build_for(source, asked, serving, silent)
    assert (first.state, again.state) == ("built", "known")
    assert build_for(source, Request("Offline", build=build), serving, silent).state == "bundle"


def test_a_named_map_is_taken_whole_and_a_replaced_image_is_seen(
    source: Source, tmp_path: Path
) -> None:
    data = images(tmp_path / "images")
    asked: dict[str, Any] = {"data": data, "val_map": data / "val_map.txt"}
    first = validation_samples(source, tmp_path / "arrays", **asked)
    assert first.samples == 6
    assert first.read_labels().tolist() == [2, 3, 4, 5, 6, 7]
    images(tmp_path / "images", brightness=99)
    second = validation_samples(source, tmp_path / "arrays", **asked)
    assert second.key != first.key
    assert (second.open_inputs()[5] != first.open_inputs()[5]).any()


def test_roles_are_made_ready_apart(source: Source, tmp_path: Path) -> None:
    data = images(tmp_path / "images")
    both: dict[str, Any] = {
        "data": data,
        "val_map": data / "val_map.txt",
        "cal_map": data / "cal_map.txt",
    }
    for roles in (("validation",), ("calibration",)):
        made = preprocess(source, tmp_path / roles[0], roles=roles, **both)
        assert tuple(made) == roles
        assert len(list((tmp_path / roles[0]).glob("*/inputs.npy"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "3.png").unlink(), "cal_map.txt` line 4: image .*3.png` cannot be read"),
        (
            lambda d: (d / "cal_map.txt").write_text("0.png 1 2\n"),
            "cal_map.txt` line 1: .* has 3 columns",
        ),
        (lambda d: (d / "cal_map.txt").write_text(""), "calibration must have at least one image"),
        (lambda d: (d / "cal_map.txt").unlink(), "does not exist"),
    ],
)
def test_what_cannot_be_calibrated_on_is_refused_and_nothing_written(
    source: Source, build: Path, tmp_path: Path, change: Any, message: str
) -> None:
    data = images(tmp_path / "images")
    change(data)
    with pytest.raises(InputError, match=message) as refused:
        calibrate(source, tmp_path / "cache", build, data=data, cal_map=data / "cal_map.txt")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "cache").exists()


def test_algorithms_have_the_names_of_all_harnesses(source: Source, tmp_path: Path) -> None:
    assert [algorithm_named(name) for name in ("1", "2", "3")] == ["entropy", "entropy", "minmax"]
    with pytest.raises(InputError, match="must be min-max, entropy or percentile"):
        algorithm_named("mse")
    with pytest.raises(InputError, match=r"is for `--algorithm percentile`, but got 99\.0 with"):
        calibrate(source, tmp_path / "c", tmp_path, algorithm="entropy", percentile=99.0)


def test_a_calibrator_cache_of_another_network_is_refused(
    source: Source, build: Path, tmp_path: Path
) -> None:
    other = tmp_path / "cache"
    other.write_text("TRT-8601-MinMaxCalibration\nimages: 3c010204\n")
    asked = Request("Offline", build=build, calibrator_cache=other)
    (serving,) = settle(source, asked, silent)
    with pytest.raises(InputError, match="must cover every quantized tensor"):
        build_for(source, asked, serving, silent)


def test_a_fixed_network_is_calibrated_from_its_own_file(
    small_bundle: Bundle, build: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fixed"
    shutil.copytree(small_bundle.folder, folder)
    for name in (NET_CONFIG, INIT):
        (folder / name).unlink()
    shutil.copyfile(small_bundle.folder.parent / "float.onnx", folder / NETWORK)
    seal(folder, small_bundle.result)
    source = open_source(folder)
    file = tmp_path / "calibrator.cache"
    assert calibrate(source, file, build, limit=4).tensors > 10
    asked = Request("Offline", build=build, calibrator_cache=file)
    (serving,) = settle(source, asked, silent)
    assert build_for(source, asked, serving, silent).state == "built"
