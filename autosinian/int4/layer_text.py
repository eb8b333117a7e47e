"""The text of one layer: a type, then `key=value` lines, tensors followed by their blob's place.

A tuple is `key=N:a b`; a tensor is `key=DTYPE,NDIM:d0 d1 ...`, and the line after it says where its
values lie, `!model/npdata/<layer>.<key>`. All lines end alike, in LF or in CR LF.
"""

import re
from dataclasses import dataclass

from autosinian.errors import InputError

DTYPES = ("s4", "s8", "s16", "s32", "u16", "f32")

_LINE = re.compile(r"([a-z_0-9]+)=(.*)")
_TENSOR = re.compile(r"([a-z][0-9]+),([0-9]+):([0-9 ]*)")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_LARGEST_TEXT = 1 << 16


@dataclass(frozen=True)
class TensorPlace:
    """A tensor's type and dimensions; its values are the blob `<layer>.<key>`."""

    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class LayerText:
    """One layer file: `values` maps keys, in the file's order, to texts or tensors."""

    name: str
    kind: str
    values: dict[str, str | TensorPlace]

    def expect(self, kind: str, *keys: str) -> None:
        """Raise `InputError` where the type is not `kind` or the keys, in order, are not `keys`."""
        if self.kind != kind:
            raise InputError(f"INT4 layer {self.name} must be of type {kind}, got {self.kind}")
        given = tuple(self.values)
        unknown = [key for key in given if key not in keys]
        if unknown:
            raise InputError(
                f"INT4 layer {self.name} ({kind}) has the unknown key {unknown[0]}; "
                f"known are {', '.join(keys)}"
            )
        if given != keys:
            raise InputError(
                f"INT4 layer {self.name} must have the keys {', '.join(keys)} in this order, "
                f"got {', '.join(given)}"
            )

    def text(self, key: str) -> str:
        """The value of `key` as written."""
        value = self.values[key]
        if isinstance(value, TensorPlace):
            raise InputError(f"INT4 layer {self.name}: {key} must be a plain value, got a tensor")
        return value

    def tensor(self, key: str) -> TensorPlace:
        """Type and dimensions of the tensor `key`."""
        value = self.values[key]
        if not isinstance(value, TensorPlace):
            raise InputError(f"INT4 layer {self.name}: {key} must be a tensor, got {value!r}")
        return value

    def integer(self, key: str) -> int:
        """The value of `key`, an integer in its shortest form."""
        return _integer(self.name, key, self.text(key))

    def pair(self, key: str) -> tuple[int, int]:
        """The two integers of `key=2:a b`."""
        found = re.fullmatch(r"2:(\S+) (\S+)", self.text(key))
        if found is None:
            raise InputError(
                f"INT4 layer {self.name}: {key} must be two integers, 2:a b, got {self.text(key)!r}"
            )
        return _integer(self.name, key, found[1]), _integer(self.name, key, found[2])

    def must_be(self, key: str, wanted: str) -> None:
        """Raise `InputError` where `key` has another value than the only one supported."""
        if self.text(key) != wanted:
            raise InputError(
                f"INT4 layer {self.name}: {key} must be {wanted}, got {self.text(key)!r}"
            )


def parse_layer_text(name: str, content: bytes) -> tuple[LayerText, str]:
    """A layer and how its lines end, from the bytes of its file. Raises `InputError`."""
    if len(content) > _LARGEST_TEXT or not content.isascii():
        raise InputError(f"INT4 layer file {name} must be ASCII text of at most {_LARGEST_TEXT} B")
    text = content.decode("ascii")
    line_end = "\r\n" if "\r\n" in text else "\n"
    *lines, rest = text.split(line_end)
    if rest or not lines or any(c in line for line in lines for c in "\r\n\0"):
        raise InputError(f"INT4 layer file {name} must end every line with LF, or all with CR LF")
    kind = lines.pop(0)
    values: dict[str, str | TensorPlace] = {}
    waiting: str | None = None
    for line in lines:
        if waiting is not None:
            _check_place(name, waiting, line)
            waiting = None
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputError(f"INT4 layer file {name} must have lines key=value, got {line!r}")
        key, value = found.groups()
        if key in values:
            raise InputError(f"INT4 layer file {name} has the key {key} twice")
        tensor = _TENSOR.fullmatch(value)
        values[key] = value if tensor is None else _tensor(name, key, *tensor.groups())
        waiting = key if tensor is not None else None
    if waiting is not None:
        _check_place(name, waiting, "")
    return LayerText(name, kind, values), line_end


def format_layer_text(layer: LayerText, line_end: str) -> bytes:
    """The bytes of a layer's file."""
    lines = [layer.kind]
    for key, value in layer.values.items():
        if isinstance(value, TensorPlace):
            dims = " ".join(map(str, value.dims))
            lines += [f"{key}={value.dtype},{len(value.dims)}:{dims}", _place(layer.name, key)]
        else:
            lines.append(f"{key}={value}")
    return "".join(line + line_end for line in lines).encode("ascii")


def blob_name(layer: str, key: str) -> str:
    """The file name of a tensor's values in `npdata/`."""
    return f"{layer}.{key}"


def _place(layer: str, key: str) -> str:
    return f"!model/npdata/{blob_name(layer, key)}"


def _check_place(name: str, key: str, line: str) -> None:
    # The place is derived, never followed: a file elsewhere cannot be named.
    if line != _place(name, key):
        raise InputError(
            f"INT4 layer file {name}: the line after {key} must be {_place(name, key)}, "
            f"got {line!r}"
        )


def _tensor(name: str, key: str, dtype: str, rank: str, dims: str) -> TensorPlace:
    if dtype not in DTYPES:
        raise InputError(
            f"INT4 layer {name}: {key} must be of dtype {', '.join(DTYPES)}, got {dtype}"
        )
    sizes = tuple(_integer(name, key, size) for size in dims.split(" "))
    if str(len(sizes)) != rank or min(sizes) < 1:
        raise InputError(
            f"INT4 layer {name}: {key} must have {rank} dimensions of at least 1, got {dims!r}"
        )
    return TensorPlace(dtype, sizes)


def _integer(name: str, key: str, text: str) -> int:
    if _INTEGER.fullmatch(text) is None or len(text) > 11:
        raise InputError(f"INT4 layer {name}: {key} must be an integer, got {text!r}")
    return int(text)
