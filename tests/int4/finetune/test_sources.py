"""Float networks that can become integers, and their folded form."""

from pathlib import Path

import pytest
import torch
from ofa.imagenet_classification.networks import ResNet50D

from autosinian.errors import InputError
from autosinian.int4.finetune.folded import fold
from autosinian.int4.finetune.sources import build_resnet, folded_network, load_float_weights


def disturbed(module: torch.nn.Module) -> torch.nn.Module:
    """`module` with batch norms as training leaves them, in eval mode."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.3, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.2)
    return module.eval()


def test_batch_norm_folds_into_weights_by_hand_values() -> None:
    conv, norm = torch.nn.Conv2d(1, 2, 1, bias=False), torch.nn.BatchNorm2d(2, eps=0.0)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1, 1))
        norm.weight.copy_(torch.tensor([3.0, 1.0]))
        norm.bias.copy_(torch.tensor([0.5, 0.0]))
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25]))
    folded = fold(conv, norm, "conv1")
    assert folded.weight.flatten().tolist() == [3.0, -2.0]
    assert folded.bias.tolist() == [-1.0, -4.0]


def test_a_torchvision_resnet_folds_to_the_same_function() -> None:
    module = disturbed(build_resnet("resnet50", 7, depths=(1, 2, 1, 1), width_per_group=8))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(folded_network(module)(x), module(x), rtol=1e-4, atol=1e-4)


def test_an_ofa_resnet_folds_to_the_same_function_average_pools_included() -> None:
    module = disturbed(ResNet50D(n_classes=7, width_mult=0.25, depth_param=-1))
    folded = folded_network(module)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), module(x), rtol=1e-4, atol=1e-4)
    assert [step.residual for step in folded.stem] == [False, True, False]
    downsample = folded.layers[1][0].downsample
    assert downsample is not None
    assert downsample.weight.shape[2:] == (2, 2) and downsample.stride == (2, 2)


def test_names_are_those_of_the_model_folder() -> None:
    module = build_resnet("resnet50", 2, depths=(1, 1, 1, 2), width_per_group=8)
    names = [conv.name for conv in folded_network(module).convs()]
    assert names[:5] == [
        "conv1",
        "layer1_0_conv1",
        "layer1_0_conv2",
        "layer1_0_downsample_0",
        "layer1_0_conv3",
    ]
    assert names[-1] == "layer4_1_conv3"


@pytest.mark.parametrize(
    ("network", "depths", "message"),
    [
        ("resnet18", None, "a network is one of resnet50, resnet101, resnet152"),
        ("resnet50", (1, 1), "four depths"),
        ("resnet50", (1, 0, 1, 1), "four depths"),
    ],
)
def test_what_is_no_bottleneck_resnet_is_refused(
    network: str, depths: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_resnet(network, 10, depths=depths)


def test_networks_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="must be a torchvision ResNet of bottlenecks"):
        folded_network(torch.nn.Linear(2, 2))
    from torchvision.models import resnet18
    from torchvision.models.resnet import Bottleneck, ResNet

    with pytest.raises(InputError, match="must be made of bottlenecks"):
        folded_network(resnet18(weights=None))
    with pytest.raises(InputError, match="one group"):
        folded_network(ResNet(Bottleneck, [1, 1, 1, 1], groups=2, width_per_group=4))


def test_weights_of_another_network_are_refused_and_own_ones_are_loaded(tmp_path: Path) -> None:
    small = build_resnet("resnet50", 2, depths=(1, 1, 1, 1), width_per_group=8)
    torch.save({"state_dict": small.state_dict()}, tmp_path / "own.pt")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    other = build_resnet("resnet50", 2, depths=(1, 1, 1, 1), width_per_group=8)
    load_float_weights(other, tmp_path / "own.pt")
    for key, value in small.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value)
    with pytest.raises(InputError, match=r"must hold this network's weights, but \d+ differ"):
        load_float_weights(other, tmp_path / "other.pt")
    with pytest.raises(InputError, match="must be a file of weights"):
        load_float_weights(other, tmp_path / "broken.pt")
