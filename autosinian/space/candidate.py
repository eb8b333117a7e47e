"""What one trial tries: a subnet, its precision, and the engine settings that serve it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from autosinian.content import content_key

Option = int | float | str | bool


@dataclass(frozen=True)
class Subnet:
    """One subnet of an OFA supernet in OFA's own genes.

    `d` depth per stage, `ks` kernel size per block, `e` expansion ratio per block, `w` width
    index per stage (ResNets only; `ks` is empty there). In canonical form the genes of blocks
    that `d` skips are 0, so that equal networks are equal. `resolution` is in pixels.
    """

    d: tuple[int, ...]
    ks: tuple[int, ...]
    e: tuple[float, ...]
    w: tuple[int, ...]
    resolution: int

    @property
    def key(self) -> str:
        """Content key of the canonical form."""
        return content_key(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {
            "d": self.d,
            "ks": self.ks,
            "e": self.e,
            "w": self.w,
            "resolution": self.resolution,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Subnet":
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(
            d=tuple(value["d"]),
            ks=tuple(value["ks"]),
            e=tuple(value["e"]),
            w=tuple(value["w"]),
            resolution=int(value["resolution"]),
        )


@dataclass(frozen=True)
class Quantization:
    """Numeric precision of the network: `fp32`, `bf16`, `fp16`, `int8` or `int4`.

    `calibration` is `none` unless `precision` is `int8`: then `minmax`, `entropy` or `percentile`.
    `options` are what else a detector's INT8 is chosen by, sorted by name: `equalize` (whether
    channels are equalized across layers), `asymmetric` (how many of the most sensitive
    activations have an asymmetric range) and `float_layers` (how many of the most sensitive
    layers stay in float). They are empty where a space does not name them.
    """

    precision: str = "fp32"
    calibration: str = "none"
    options: tuple[tuple[str, Option], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        value: dict[str, Any] = {"precision": self.precision, "calibration": self.calibration}
        # Left out where empty, so that keys of candidates without them stay as they were.
        return value | ({"options": dict(self.options)} if self.options else {})

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Quantization":
        """Inverse of `to_dict`."""
        options = tuple(sorted(value.get("options", {}).items()))
        return cls(value["precision"], value["calibration"], options)


@dataclass(frozen=True)
class EngineConfig:
    """How an engine serves a network: its name, the batch size and the engine's own tunables.

    `options` holds every tunable that the engine declares (see `autosinian.engine.Tunable`),
    sorted by name.
    """

    engine: str
    batch_size: int
    options: tuple[tuple[str, Option], ...] = field(default=())

    def option(self, name: str) -> Option:
        """The value of one tunable; `KeyError` where the engine has none of that name."""
        return dict(self.options)[name]

    @classmethod
    def make(cls, engine: str, batch_size: int, **options: Option) -> "EngineConfig":
        """Build with the options in canonical order."""
        return cls(engine, batch_size, tuple(sorted(options.items())))


@dataclass(frozen=True)
class Candidate:
    """A point of the search space in canonical form.

    `serving` holds the settings of our side of LoadGen's Server scenario, sorted by name; it is
    empty where that scenario is not measured.
    """

    subnet: Subnet
    quantization: Quantization
    engine: EngineConfig
    serving: tuple[tuple[str, Option], ...] = ()

    @cached_property
    def key(self) -> str:
        """Content key: equal exactly for candidates that would measure the same thing."""
        return content_key(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        value: dict[str, Any] = {
            "subnet": self.subnet.to_dict(),
            "quantization": self.quantization.to_dict(),
            "engine": {
                "engine": self.engine.engine,
                "batch_size": self.engine.batch_size,
                "options": dict(self.engine.options),
            },
        }
        # Left out where empty, so that keys of candidates without it stay as they were.
        return value | ({"serving": dict(self.serving)} if self.serving else {})

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Candidate":
        """Inverse of `to_dict`."""
        engine = value["engine"]
        return cls(
            subnet=Subnet.from_dict(value["subnet"]),
            quantization=Quantization.from_dict(value["quantization"]),
            engine=EngineConfig.make(engine["engine"], engine["batch_size"], **engine["options"]),
            serving=tuple(sorted(value.get("serving", {}).items())),
        )
