"""The device a detector runs on."""

import torch

from autosinian.errors import InputError


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or for `auto` a GPU where torch sees one."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu or cuda, but got `{name}`")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs a GPU that torch sees, but there is none; use cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda")
