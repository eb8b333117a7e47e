"""What a set of samples is used for; samples of different roles never overlap."""

from typing import Literal, get_args

from autosinian.errors import InputError

Role = Literal["train", "batch_norm", "calibration", "search", "validation"]

ROLES: tuple[Role, ...] = get_args(Role)
MEASURING_ROLES: tuple[Role, ...] = ("batch_norm", "calibration", "search", "validation")
LABELLED_ROLES: frozenset[Role] = frozenset(("train", "search", "validation"))


def check_role(role: str) -> Role:
    """`role` as a `Role`; `InputError` for any other word."""
    for known in ROLES:
        if role == known:
            return known
    raise InputError(f"a role is one of {', '.join(ROLES)}, but got `{role}`")
