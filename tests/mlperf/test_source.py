"""Bundles and folders of MLPerf v0.7 as sources of runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from autosinian.errors import InputError
from autosinian.export.bundle import Bundle
from autosinian.mlperf.harness import RunRequest, run
from autosinian.mlperf.request import Request
from autosinian.mlperf.source import engine_file_name, open_source
from autosinian.supernet.net_files import read_net
from tests.mlperf.small_bundle import silent

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v0.7/net.config"
OLD_NAMES = {
    "ResidualBlock": "MobileInvertedResidualBlock",
    "MBConvLayer": "MBInvertedConvLayer",
}


def old_form(value: Any) -> Any:
    """Today's `net.config` in the names of v0.7."""
    if isinstance(value, list):
        return [old_form(item) for item in value]
    if not isinstance(value, dict):
        return OLD_NAMES.get(value, value) if isinstance(value, str) else value
    return {
        "mobile_inverted_conv" if key == "conv" and "shortcut" in value else key: old_form(item)
        for key, item in value.items()
    }


def images(folder: Path, count: int) -> Path:
    """Plain images with their maps: all for validation, the first three for calibration."""
    folder.mkdir()
    lines = []
    for index in range(count):
        colour = (index * 9 % 256, index * 40 % 256, 99)
        Image.new("RGB", (210, 200), colour).save(folder / f"{index}.png")
        lines.append(f"{index}.png\t{index % 10}\n")
    (folder / "val_map.txt").write_text("".join(lines))
    return folder


def accuracy(folder: Path, build: Path, data: Path, **changes: Any) -> dict[str, Any]:
    serve = Request("Offline", build=build, data=data, val_map=data / "val_map.txt", **changes)
    asked = RunRequest(
        serve, settings={"min_duration_ms": 50, "min_query_count": 1, "offline_expected_qps": 10}
    )
    (report,) = run(open_source(folder), asked, silent)
    return report.to_dict()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_folder_of_v0_7_runs(tmp_path: Path, small_bundle: Bundle, wrapped: bool) -> None:
    folder = tmp_path / "best_model"
    folder.mkdir()
    config = json.loads(small_bundle.path("net.config").read_text())
    del config["name"]
    old = old_form(config)
    assert "mobile_inverted_conv" in old["blocks"][0]
    (folder / "net.config").write_text(json.dumps(old))
    state = {f"module.{k}": v for k, v in read_net(small_bundle.folder)[0].state_dict().items()}
    torch.save({"state_dict": state} if wrapped else state, folder / "init")
    (folder / "bs3_is16_T4_torch2trt.pth").write_bytes(b"a plan of another engine")
    (folder / "bs9_is172_T4_torch2trt.pth").write_bytes(b"of another resolution")
    found = accuracy(folder, tmp_path / "build", images(tmp_path / "images", 12))
    assert found["total"] == 12
    assert found["precision"] == "fp32"
    assert found["engine"]["batch_size"] == 3
    assert Path(found["engine_file"]["path"]).name.startswith("bs3_is16_")
    assert found["figure"]["name"] == "Samples per second"


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published network is not here")
def test_the_published_network_runs_with_random_weights(tmp_path: Path) -> None:
    folder = tmp_path / "best_model"
    folder.mkdir()
    shutil.copyfile(PUBLISHED, folder / "net.config")
    torch.manual_seed(0)
    module, resolution = read_net(folder, weights=False)
    assert resolution == 172
    torch.save({f"module.{k}": v for k, v in module.state_dict().items()}, folder / "init")
    found = accuracy(folder, tmp_path / "build", images(tmp_path / "images", 6), batch_size=2)
    assert found["total"] == 6
    assert found["accuracy"] == found["good"] / 6


def test_engine_files_are_named_as_there() -> None:
    assert engine_file_name(1280, 172, "Tesla T4", "int8") == "bs1280_is172_T4_int8_"
    assert engine_file_name(1, 176, "NVIDIA A100-SXM4-40GB", "fp16") == "bs1_is176_A100_fp16_"
    assert "/" not in engine_file_name(1, 1, "Some / chip", "int8")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "init").write_bytes(b"other"), "`init` has changed since it was exported"),
        (lambda f: (f / "model.onnx").unlink(), "`model.onnx` is missing"),
        (lambda f: (f / "result.json").write_text("{"), "is not JSON"),
        (lambda f: shutil.rmtree(f), "there is no such folder"),
    ],
)
def test_a_changed_bundle_is_refused(
    tmp_path: Path, small_bundle: Bundle, harm: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(small_bundle.folder, folder)
    harm(folder)
    with pytest.raises(InputError, match=message) as refused:
        open_source(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("config", ["{", "{}", '{"blocks": [], "classifier": {}}'])
def test_an_old_folder_without_a_network_is_refused(tmp_path: Path, config: str) -> None:
    (tmp_path / "net.config").write_text(config)
    with pytest.raises(InputError, match=r"net\.config` must "):
        open_source(tmp_path)
