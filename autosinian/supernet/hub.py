"""The published supernets of once-for-all, by the ids of its model zoo."""

import contextlib
import sys
from typing import TYPE_CHECKING

from autosinian.errors import InputError
from autosinian.supernet.families import SupernetConfig

if TYPE_CHECKING:
    import torch

HUB = {
    "ofa_mbv3_d234_e346_k357_w1.0": SupernetConfig.make("mobilenet_v3", width_mult=1.0),
    "ofa_mbv3_d234_e346_k357_w1.2": SupernetConfig.make("mobilenet_v3", width_mult=1.2),
    "ofa_proxyless_d234_e346_k357_w1.3": SupernetConfig.make("proxyless", width_mult=1.3),
    "ofa_resnet50": SupernetConfig.make("resnet"),
}

# What they were trained for (once-for-all, section 4.1): 128 to 224 in steps of 4.
HUB_RESOLUTIONS = tuple(range(128, 225, 4))


def is_local(source: str) -> bool:
    """Whether `source` names a file rather than a hub supernet."""
    return source.removeprefix("random:") not in HUB


def hub_state(identity: str) -> "dict[str, torch.Tensor]":
    """The published weights, downloaded to `.torch/` of the current folder at the first call.

    Raises `InputError` where the download fails.
    """
    from ofa.model_zoo import ofa_net

    try:
        with contextlib.redirect_stdout(sys.stderr):
            net: torch.nn.Module = ofa_net(identity, pretrained=True)
    except Exception as error:
        # ofa and its downloaders raise any kind of error, and offline they miss their own lock.
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        if "download.lock" in cause:
            cause = "the server could not be reached"
        raise InputError(
            f"the weights of `{identity}` must be downloadable, but that failed ({cause[:160]}); "
            "check the connection, or name a local checkpoint file instead"
        ) from error
    return net.state_dict()
