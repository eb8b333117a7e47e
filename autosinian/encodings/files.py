"""`.encodings` and `.encodings.yaml`: AIMET's older form, JSON and YAML of the same content."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autosinian.content import atomic_file
from autosinian.encodings.encoding import BIAS_LABEL, Encoding, Encodings
from autosinian.errors import InputError

_KEYS = ("bitwidth", "is_symmetric", "max", "min", "offset", "scale")
_SECTIONS = ("activation_encodings", "param_encodings")


def to_content(encodings: Encodings) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The object that both files hold."""
    sections = (encodings.activations, encodings.parameters)
    return {
        key: {name: [_entry(item) for item in items] for name, items in section.items()}
        for key, section in zip(_SECTIONS, sections, strict=True)
    }


def write_encodings(path: Path, encodings: Encodings) -> tuple[Path, Path]:
    """Write `<path>`, JSON, and `<path>.yaml`; gives both places."""
    content = to_content(encodings)
    beside = path.with_name(f"{path.name}.yaml")
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=4, sort_keys=True, allow_nan=False) + "\n")
    with atomic_file(beside) as temporary:
        temporary.write_text(yaml.safe_dump(content, default_flow_style=False, allow_unicode=True))
    return path, beside


def read_encodings(path: Path) -> Encodings:
    """Read either file; one that ends in `.yaml` is YAML.

    Raises `InputError` that names the tensor whose entry is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"{path} must be an encodings file that can be read: {reason}") from error
    try:
        content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} must be an encodings file, but: {reason}") from error
    return from_content(content, str(path))


def from_content(content: Any, label: str) -> Encodings:
    """The encodings of a file's object; `label` names the file in errors."""
    if not isinstance(content, dict) or set(content) != set(_SECTIONS):
        raise InputError(f"{label} must hold an object with `{'` and `'.join(_SECTIONS)}`")
    activations, parameters = (_section(content[key], label, key) for key in _SECTIONS)
    return Encodings(activations, parameters)


def _section(content: Any, label: str, key: str) -> dict[str, tuple[Encoding, ...]]:
    if not isinstance(content, Mapping):
        raise InputError(f"{label}: `{key}` must be an object of tensors")
    section = {}
    for name, entries in content.items():
        if not isinstance(name, str) or not isinstance(entries, list) or not entries:
            raise InputError(f"{label}: `{key}` must hold a list for each tensor, see `{name}`")
        section[name] = tuple(_encoding(entry, f"{label}: `{name}`") for entry in entries)
    return section


def _entry(encoding: Encoding) -> dict[str, Any]:
    return {
        "bitwidth": encoding.bitwidth,
        "is_symmetric": str(encoding.is_symmetric),
        "max": encoding.maximum,
        "min": encoding.minimum,
        "offset": encoding.offset,
        "scale": encoding.scale,
    }


def _encoding(entry: Any, label: str) -> Encoding:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        raise InputError(f"{label} must have the keys {', '.join(_KEYS)}")
    bitwidth, offset = (_whole(entry[key], f"{label}, {key}") for key in ("bitwidth", "offset"))
    high, low, scale = (_number(entry[key], f"{label}, {key}") for key in ("max", "min", "scale"))
    if not 1 <= bitwidth <= BIAS_LABEL:
        raise InputError(f"{label}: `bitwidth` must be 1 to {BIAS_LABEL}, but is {bitwidth}")
    if entry["is_symmetric"] not in ("True", "False"):
        raise InputError(
            f'{label}: `is_symmetric` must be "True" or "False", but is {entry["is_symmetric"]!r}'
        )
    if not scale > 0 or not low <= 0 <= high or low == high:
        raise InputError(
            f"{label}: `scale > 0` and `min <= 0 <= max` must hold, but got scale {scale}, "
            f"min {low}, max {high}"
        )
    if not abs(low - offset * scale) <= scale or (high - low) / scale > 2.0**bitwidth:
        raise InputError(
            f"{label}: `min` must be offset x scale and `max` at most 2^bitwidth scales above it"
        )
    return Encoding(bitwidth, entry["is_symmetric"] == "True", low, high, offset, scale)


def _whole(value: Any, label: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{label} must be a whole number, but is {value!r}")
    return value


def _number(value: Any, label: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{label} must be a number, but is {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{label} must be a finite number, but is {value!r}")
    return number
