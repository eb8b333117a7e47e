"""The device of this process, and its part in a `torchrun` group."""

import contextlib
import os
from collections.abc import Iterator

import torch

from autosinian.errors import InputError


@contextlib.contextmanager
def training_device(name: str = "auto") -> Iterator[torch.device]:
    """Give the device to train on (`auto`, `cpu`, `cuda`); joins the group `torchrun` started."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu or cuda, but got `{name}`")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs a GPU that torch sees, but there is none; use cpu")
    use_cuda = name != "cpu" and torch.cuda.is_available()
    device = torch.device("cpu")
    if use_cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    group = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if group:
        torch.distributed.init_process_group("nccl" if use_cuda else "gloo")
    try:
        yield device
    finally:
        if group:
            torch.distributed.destroy_process_group()
