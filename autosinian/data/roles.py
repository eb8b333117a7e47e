"""What a set of samples is used for; samples of different roles never overlap."""

from typing import Literal, get_args

Role = Literal["train", "batch_norm", "calibration", "search", "validation"]

ROLES: tuple[Role, ...] = get_args(Role)
MEASURING_ROLES: tuple[Role, ...] = ("batch_norm", "calibration", "search", "validation")
LABELLED_ROLES: frozenset[Role] = frozenset(("train", "search", "validation"))
