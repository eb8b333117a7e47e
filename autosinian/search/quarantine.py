"""Regions of the space that a failure has shown to be hopeless, shared by all processes of a study.

A failure that would come again (the network does not build, memory runs out at this batch size)
rules out more than its own candidate: every candidate of the same engine file, or of the same
network at the same or a larger batch. A sampler asks `refuses` before it proposes:

    quarantine.refresh()                       # once for each proposal: what others found
    reason = quarantine.refuses(candidate)     # "" where nothing speaks against it
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autosinian.content import content_key
from autosinian.errors import TrialFailure
from autosinian.space.candidate import Candidate, Option, Quantization, Subnet
from autosinian.store import Store

KIND = "quarantine"

OUT_OF_MEMORY = re.compile(
    r"out.?of.?memory|MemoryError|bad_alloc|cannot allocate memory|cudaErrorMemoryAllocation"
    r"|more than the limit \d+ MiB",
    re.IGNORECASE,
)
"""How libraries, CUDA and our own watch over a worker's memory tell of it."""

GROWING_OPTIONS = ("streams",)
"""Engine options of which more needs more memory."""


@dataclass(frozen=True)
class Region:
    """Candidates of this network that share `equal` and have at least `at_least`.

    Both map `batch_size` or an engine's option to a value; `subnet` and `quantization` are shared
    by all. `reason` is the first failure's, in words.
    """

    subnet: Subnet
    quantization: Quantization
    equal: tuple[tuple[str, Option], ...]
    at_least: tuple[tuple[str, int], ...]
    reason: str

    def covers(self, candidate: Candidate) -> bool:
        """Whether the failure is to be expected of `candidate` too."""
        if (candidate.subnet, candidate.quantization) != (self.subnet, self.quantization):
            return False
        settings = _settings(candidate)
        return all(name in settings and settings[name] == v for name, v in self.equal) and all(
            name in settings and int(settings[name]) >= v for name, v in self.at_least
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self) | {
            "quantization": self.quantization.to_dict(),
            "equal": dict(self.equal),
            "at_least": dict(self.at_least),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Region":
        """Inverse of `to_dict` after a trip through JSON."""
        return cls(
            Subnet.from_dict(value["subnet"]),
            Quantization.from_dict(value["quantization"]),
            tuple(sorted(value["equal"].items())),
            tuple(sorted(value["at_least"].items())),
            str(value["reason"]),
        )


class Quarantine:
    """The regions of one study.

    `rebuild_options` are the engine's options that need an engine file of their own; candidates
    that differ in no other share the file that does not build. `exempt` are candidates' keys that
    are never refused: the baseline's, without which nothing can be judged.
    """

    def __init__(
        self, store: Store, rebuild_options: Iterable[str], exempt: Iterable[str] = ()
    ) -> None:
        self._store = store
        self._rebuild = frozenset(rebuild_options)
        self._exempt = frozenset(exempt)
        self._regions: dict[tuple[Subnet, Quantization], list[Region]] = {}
        self.refresh()

    @property
    def regions(self) -> list[Region]:
        """All regions known at the last `refresh`."""
        return [region for regions in self._regions.values() for region in regions]

    def refresh(self) -> None:
        """Read what the processes of this study have found since."""
        self._regions = {}
        for value in self._store.recall_all(KIND):
            self._keep(Region.from_dict(value["region"]))

    def refuses(self, candidate: Candidate) -> str:
        """Why `candidate` is hopeless; empty where nothing is known against it."""
        if candidate.key in self._exempt:
            return ""
        for region in self._regions.get((candidate.subnet, candidate.quantization), ()):
            if region.covers(candidate):
                return region.reason
        return ""

    def add(self, candidate: Candidate, failure: TrialFailure, trial: int) -> Region | None:
        """Learn from a failure; None where it rules out nothing but its own candidate."""
        region = self._region(candidate, failure, trial)
        if region is not None:
            key = content_key(self._store.study, region.to_dict())
            self._store.remember(KIND, key, {"region": region.to_dict()}, of_study=True)
            self._keep(region)
        return region

    def _region(self, candidate: Candidate, failure: TrialFailure, trial: int) -> Region | None:
        if failure.transient:
            return None
        settings = _settings(candidate)
        if OUT_OF_MEMORY.search(failure.reason):
            growing = ("batch_size", *GROWING_OPTIONS)
            at_least = {n: int(v) for n, v in settings.items() if n in growing}
            equal = {n: v for n, v in settings.items() if n not in at_least}
        elif failure.stage in ("extract", "quantize"):
            equal, at_least = {}, {}
        elif failure.stage == "build":
            shared = {"batch_size", *self._rebuild}
            equal, at_least = {n: v for n, v in settings.items() if n in shared}, {}
        else:
            return None
        return Region(
            candidate.subnet,
            candidate.quantization,
            tuple(sorted(equal.items())),
            tuple(sorted(at_least.items())),
            f"ruled out by trial {trial} ({failure})",
        )

    def _keep(self, region: Region) -> None:
        self._regions.setdefault((region.subnet, region.quantization), []).append(region)


def _settings(candidate: Candidate) -> dict[str, Option]:
    return {"batch_size": candidate.engine.batch_size, **dict(candidate.engine.options)}
