"""Small supernets with random weights, one of each family."""

from pathlib import Path

import pytest
import torch

from autosinian.supernet import FORMAT, Supernet, SupernetConfig, open_supernet
from autosinian.supernet.families import build_supernet

torch.set_num_threads(1)


def small_config(family: str) -> SupernetConfig:
    if family == "resnet":
        return SupernetConfig(family, 1.0, (), (0.2, 0.25), (0, 1), (0.65, 0.8), 5)
    return SupernetConfig.make(family, width_mult=0.35, classes=5)


def write_checkpoint(path: Path, config: SupernetConfig, *, half: bool = False) -> Path:
    torch.manual_seed(7)
    net = build_supernet(config)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            torch.nn.init.normal_(layer.running_mean, 0.0, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
    state = net.state_dict()
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    torch.save(
        {
            "format": FORMAT,
            "supernet": config.to_dict(),
            "resolutions": [32, 40],
            "data": {"name": "made up", "mean": [0.5] * 3, "std": [0.25] * 3},
            "training": {},
            "state_dict": state,
        },
        path,
    )
    return path


@pytest.fixture(scope="session", params=["proxyless", "mobilenet_v3", "resnet"])
def supernet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    folder = tmp_path_factory.mktemp(request.param)
    return open_supernet(write_checkpoint(folder / "net.pt", small_config(request.param)))


@pytest.fixture(scope="session")
def proxyless(tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    folder = tmp_path_factory.mktemp("small")
    return open_supernet(write_checkpoint(folder / "net.pt", small_config("proxyless")))
