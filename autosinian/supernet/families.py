"""The three OFA families: what each supernet is made of, and how `ofa` builds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autosinian.errors import InputError

if TYPE_CHECKING:
    import torch

FAMILIES = ("proxyless", "mobilenet_v3", "resnet")


@dataclass(frozen=True)
class SupernetConfig:
    """What `ofa` needs to build a supernet.

    `ks` kernel sizes, `e` expansion ratios, `d` depths a stage can have; `w` the width
    multipliers a ResNet stage can have (empty for the other families, whose one `width_mult`
    is fixed at construction); `classes` the outputs of the classifier.
    """

    family: str
    width_mult: float
    ks: tuple[int, ...]
    e: tuple[float, ...]
    d: tuple[int, ...]
    w: tuple[float, ...]
    classes: int

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(
                f"family of a supernet must be one of {', '.join(FAMILIES)}; got {self.family!r}"
            )

    @classmethod
    def make(cls, family: str, *, width_mult: float = 1.0, classes: int = 1000) -> "SupernetConfig":
        """The usual elastic choices of each family (once-for-all, Cai et al. 2020)."""
        if family == "resnet":
            return cls(family, 1.0, (), (0.2, 0.25, 0.35), (0, 1, 2), (0.65, 0.8, 1.0), classes)
        return cls(family, width_mult, (3, 5, 7), (3, 4, 6), (2, 3, 4), (), classes)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "SupernetConfig":
        """Read the `supernet` entry of a checkpoint."""
        try:
            return cls(
                family=str(value["family"]),
                width_mult=float(value["width_mult"]),
                ks=tuple(int(k) for k in value["ks"]),
                e=tuple(e if isinstance(e, int) else float(e) for e in value["e"]),
                d=tuple(int(d) for d in value["d"]),
                w=tuple(float(w) for w in value.get("w", ())),
                classes=int(value["classes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"supernet entry of a checkpoint is not readable: {error!r}"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint; `w` only where the family has it."""
        value: dict[str, Any] = {
            "family": self.family,
            "width_mult": self.width_mult,
            "ks": list(self.ks),
            "e": list(self.e),
            "d": list(self.d),
            "classes": self.classes,
        }
        if self.w:
            value["w"] = list(self.w)
        return value


def build_supernet(config: SupernetConfig) -> "torch.nn.Module":
    """A supernet with fresh random weights; no dropout, so that subnets are deterministic."""
    from ofa.imagenet_classification.elastic_nn.networks import (
        OFAMobileNetV3,
        OFAProxylessNASNets,
        OFAResNets,
    )

    net: torch.nn.Module
    if config.family == "resnet":
        net = OFAResNets(
            n_classes=config.classes,
            dropout_rate=0,
            depth_list=list(config.d),
            expand_ratio_list=list(config.e),
            width_mult_list=list(config.w),
        )
    else:
        build = OFAProxylessNASNets if config.family == "proxyless" else OFAMobileNetV3
        net = build(
            n_classes=config.classes,
            dropout_rate=0,
            width_mult=config.width_mult,
            ks_list=list(config.ks),
            expand_ratio_list=list(config.e),
            depth_list=list(config.d),
        )
    return net
