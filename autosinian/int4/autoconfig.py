"""Autoconfig files: which kernel configuration runs which convolution, in the published form.

One line a convolution, `layer{1..}_residual{1..}_{ds_conv|conv1|conv2|conv3}=ID`, LF, no comments;
layers and blocks are counted from 1, a block's downsample comes first, the stem has no line. Ids
are whole numbers. Those below `FIRST_OWN_ID` (0 to 40 in the published files) name kernels of the
engine they were tuned for, not ours: such files are read, but refused where kernels are chosen.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autosinian.content import atomic_file
from autosinian.errors import InputError
from autosinian.int4.network import Downsample, Network

FIRST_OWN_ID = 1000

_LINE = re.compile(r"(layer[1-9][0-9]*_residual[1-9][0-9]*_(?:ds_conv|conv[123]))=([0-9]{1,9})")
_LARGEST_FILE = 1 << 20

Refusal = Callable[[int], str | None]
"""Why an id cannot be used for a layer, or None where it can."""


@dataclass(frozen=True)
class Autoconfig:
    """The id of each convolution by its autoconfig name, in the file's order."""

    ids: dict[str, int]

    def text(self) -> str:
        """The file's text."""
        return "".join(f"{name}={number}\n" for name, number in self.ids.items())


def autoconfig_names(network: Network) -> tuple[str, ...]:
    """Names of a network's lines in the published order (52 for ResNet-50)."""
    return tuple(
        f"layer{layer}_residual{number}_{conv}"
        for layer, blocks in enumerate(network.layers, 1)
        for number, block in enumerate(blocks, 1)
        for conv in (
            ("ds_conv", "conv1", "conv2", "conv3")
            if isinstance(block.residual, Downsample)
            else ("conv1", "conv2", "conv3")
        )
    )


def parse_autoconfig(text: str, told: str) -> Autoconfig:
    """An autoconfig file's text; `told` names it in messages.

    Raises `InputError` with the line's number for a line of another form or a layer given twice.
    """
    *lines, rest = text.split("\n")
    if rest or not lines:
        raise InputError(f"autoconfig {told} must have lines that each end with LF")
    ids: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputError(
                f"autoconfig {told}:{number}: a line must be "
                f"layer<n>_residual<n>_<ds_conv|conv1|conv2|conv3>=<id>, got {line[:80]!r}"
            )
        name, identity = found[1], int(found[2])
        if name in ids:
            raise InputError(
                f"autoconfig {told}:{number}: a layer must have one line, but {name} has a second"
            )
        ids[name] = identity
    return Autoconfig(ids)


def read_autoconfig(path: Path) -> Autoconfig:
    """An autoconfig file. Raises `InputError`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"autoconfig `{path}` cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_FILE or not content.isascii():
        raise InputError(f"autoconfig `{path}` must be an ASCII text of at most 1 MiB")
    return parse_autoconfig(content.decode("ascii"), f"`{path}`")


def write_autoconfig(path: Path, autoconfig: Autoconfig) -> None:
    """Write an autoconfig file, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(autoconfig.text(), encoding="ascii", newline="\n")


def check_autoconfig(
    autoconfig: Autoconfig,
    network: Network,
    told: str,
    refusals: Mapping[str, Refusal] | None = None,
) -> None:
    """Raise `InputError` unless `autoconfig` can choose the kernels of `network`.

    It must have exactly the network's convolutions, ids of ours, and none that `refusals` (by
    layer name) finds unfit for the layer's shape.
    """
    wanted = autoconfig_names(network)
    for name in autoconfig.ids:
        if name not in wanted:
            near = difflib.get_close_matches(name, wanted, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(
                f"autoconfig {told} must name convolutions of this network, which has no {name}"
                f"{hint}"
            )
    missing = [name for name in wanted if name not in autoconfig.ids]
    if missing:
        raise InputError(
            f"autoconfig {told} must have a line for each of {len(wanted)} convolutions, but "
            f"{missing[0]} is missing{f' and {len(missing) - 1} more' if missing[1:] else ''}"
        )
    foreign = [name for name in wanted if autoconfig.ids[name] < FIRST_OWN_ID]
    if foreign:
        raise InputError(
            f"autoconfig {told} must hold ids of this engine's kernels, {FIRST_OWN_ID} and above, "
            f"but {foreign[0]}={autoconfig.ids[foreign[0]]} names one of another engine (published "
            "files have 0 to 40): run `autosinian int4 tune` to make a file for this GPU"
        )
    for name, refusal in (refusals or {}).items():
        reason = refusal(autoconfig.ids[name])
        if reason is not None:
            raise InputError(
                f"autoconfig {told}: {name}={autoconfig.ids[name]} is invalid for this layer's "
                f"shape: {reason}"
            )
