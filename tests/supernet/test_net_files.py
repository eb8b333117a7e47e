import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ofa.imagenet_classification.networks import get_net_by_name

from autosinian.errors import InputError
from autosinian.supernet import Supernet, cost, read_net, write_net

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def logits(module: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        output: torch.Tensor = module.eval()(torch.randn(2, 3, 40, 40))
    return output


def test_ofa_builds_our_files_with_identical_logits(supernet: Supernet, tmp_path: Path) -> None:
    for number, subnet in enumerate((supernet.largest(40), supernet.smallest(40))):
        module = supernet.extract(subnet)
        folder = tmp_path / str(number)
        write_net(folder, module, 40)
        config = json.loads((folder / "net.config").read_text())
        theirs = get_net_by_name(config["name"]).build_from_config(config)
        init = torch.load(folder / "init", weights_only=True)
        theirs.load_state_dict(init["state_dict"])
        assert torch.equal(logits(theirs), logits(module))


def test_we_read_ofa_files_with_identical_logits(supernet: Supernet, tmp_path: Path) -> None:
    module = supernet.extract(supernet.smallest(40))
    config: Any = module.config
    # First, as ofa's builder empties the dictionaries that it is given.
    (tmp_path / "net.config").write_text(json.dumps(config))
    theirs = get_net_by_name(config["name"]).build_from_config(config)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "init")
    ours, resolution = read_net(tmp_path)
    assert resolution is None
    assert torch.equal(logits(ours), logits(theirs))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_both_forms_of_init_load(
    proxyless: Supernet, tmp_path: Path, prefix: str, wrapped: bool
) -> None:
    module = proxyless.extract(proxyless.smallest(32))
    write_net(tmp_path, module, 32)
    state = {prefix + key: value for key, value in module.state_dict().items()}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "init")
    ours, resolution = read_net(tmp_path)
    assert resolution == 32
    assert torch.equal(logits(ours), logits(module))


def test_weights_of_another_network_are_refused(proxyless: Supernet, tmp_path: Path) -> None:
    write_net(tmp_path, proxyless.extract(proxyless.smallest(32)), 32)
    other = proxyless.extract(proxyless.largest(32))
    torch.save({"state_dict": other.state_dict()}, tmp_path / "init")
    with pytest.raises(InputError, match="init") as caught:
        read_net(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_refused(proxyless: Supernet, tmp_path: Path) -> None:
    module = proxyless.extract(proxyless.smallest(32))
    write_net(tmp_path, module, 32)
    state = module.state_dict()
    state.pop("classifier.linear.weight")
    torch.save(state, tmp_path / "init")
    with pytest.raises(InputError):
        read_net(tmp_path)


def test_a_config_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.config").write_text("{")
    with pytest.raises(InputError, match=r"net\.config"):
        read_net(tmp_path)


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.exists(), reason="the shared data folder is absent")
def test_the_old_form_of_alibaba_loads() -> None:
    module, resolution = read_net(SHARED / "alibaba" / "v0.7", weights=False)
    assert resolution == 172
    counted = cost(module, 172)
    assert counted.parameters == 6_627_688
    assert round(counted.macs / 1e6) == 351
