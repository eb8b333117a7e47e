"""A search space resolved against its supernet and engine: what a sampler may choose from."""

import math
import random
from collections.abc import Mapping
from typing import Any, Protocol

from autosinian.content import content_key
from autosinian.errors import InputError
from autosinian.space.candidate import Candidate, EngineConfig, Option, Quantization, Subnet
from autosinian.space.dimension import Dimension, read_dimension
from autosinian.space.document import BaselineSpec, Document


class Genes(Protocol):
    """The choices at each position of a `Subnet`'s tuples."""

    @property
    def d(self) -> tuple[tuple[int, ...], ...]: ...
    @property
    def ks(self) -> tuple[tuple[int, ...], ...]: ...
    @property
    def e(self) -> tuple[tuple[float, ...], ...]: ...
    @property
    def w(self) -> tuple[tuple[int, ...], ...]: ...


class Subnets(Protocol):
    """What a space asks of a supernet; no torch is needed to answer."""

    @property
    def genes(self) -> Genes: ...
    @property
    def resolutions(self) -> tuple[int, ...]: ...
    @property
    def sha256(self) -> str: ...
    def canonical(self, subnet: Subnet) -> Subnet: ...
    def largest(self, resolution: int) -> Subnet: ...
    def smallest(self, resolution: int) -> Subnet: ...
    def uniform(self, resolution: int) -> list[Subnet]: ...


class Tunes(Protocol):
    """One tunable that an engine declares."""

    @property
    def name(self) -> str: ...
    @property
    def default(self) -> Option: ...
    @property
    def low(self) -> int | None: ...
    @property
    def high(self) -> int | None: ...
    @property
    def choices(self) -> tuple[Option, ...]: ...


class Space:
    """All candidates of a search: dimensions, and the way from their values to a `Candidate`."""

    def __init__(
        self,
        document: Document,
        supernet: Subnets,
        tunables: tuple[Tunes, ...],
        precisions: tuple[str, ...],
        serving: tuple[Tunes, ...] = (),
    ) -> None:
        self.document = document
        self._serving = serving
        self._supernet = supernet
        self._tunables = tunables
        self._genes = {
            name: self._restrict(name, getattr(supernet.genes, gene), wanted)
            for name, gene, wanted in (
                ("depth", "d", document.architecture.depth),
                ("kernel_size", "ks", document.architecture.kernel_size),
                ("expand_ratio", "e", document.architecture.expand_ratio),
                ("width", "w", document.architecture.width),
            )
        }
        self.resolutions = self._resolve_resolutions()
        for index, precision in enumerate(document.quantization.precision):
            if precision not in precisions:
                raise InputError(
                    document.where("quantization", "precision", index)
                    + f"precision must be one that `{document.engine}` runs natively on this "
                    f"machine ({', '.join(precisions)}), but the search space has `{precision}`"
                )
        self._check_baseline(precisions)
        self.dimensions: dict[str, Dimension] = {d.name: d for d in self._list_dimensions()}

    def _restrict(
        self, name: str, positions: tuple[tuple[Any, ...], ...], wanted: list[Any] | None
    ) -> tuple[tuple[Any, ...], ...]:
        if wanted is None:
            return positions
        if not positions:
            raise InputError(
                self.document.where("architecture", name)
                + f"`architecture.{name}` is a gene this supernet does not have; remove it"
            )
        known = sorted({choice for choices in positions for choice in choices})
        for index, value in enumerate(wanted):
            if value not in known:
                raise InputError(
                    self.document.where("architecture", name, index)
                    + f"`architecture.{name}` must be among {known} for this supernet, but got "
                    f"{value!r}"
                )
        restricted = []
        for choices in positions:
            # A position with fewer choices (the last stage has depth 1 only) keeps its own.
            kept = tuple(choice for choice in choices if choice in wanted)
            restricted.append(kept or choices)
        return tuple(restricted)

    def _resolve_resolutions(self) -> tuple[int, ...]:
        wanted = self.document.architecture.resolution
        known = tuple(sorted(self._supernet.resolutions))
        if wanted is None:
            return known
        if not known:  # a hub supernet was trained for a range and names no list
            return tuple(sorted(set(wanted)))
        for index, resolution in enumerate(wanted):
            if not known[0] <= resolution <= known[-1]:
                raise InputError(
                    self.document.where("architecture", "resolution", index)
                    + f"resolution must be within what the supernet was trained for, "
                    f"{known[0]} to {known[-1]}, but the search space has {resolution}"
                )
        return tuple(sorted(set(wanted)))

    def _check_baseline(self, precisions: tuple[str, ...]) -> None:
        served = self.document.baseline
        if served.precision not in precisions:
            raise InputError(
                self.document.where("baseline", "precision")
                + f"the baseline's precision must be one that `{self.document.engine}` runs "
                f"natively on this machine ({', '.join(precisions)}), but is `{served.precision}`"
            )
        declared = {tunable.name: tunable for tunable in self._tunables}
        for name, value in (served.__pydantic_extra__ or {}).items():
            if name not in declared or not _tunable_holds(declared[name], value):
                raise InputError(
                    self.document.where("baseline", name)
                    + f"`baseline.{name}` must be a tunable of `{self.document.engine}` "
                    f"({', '.join(declared)}) with a value it may take, but is {value!r}"
                )

    def _list_dimensions(self) -> list[Dimension]:
        found = []
        for name, positions in self._genes.items():
            for index, choices in enumerate(positions):
                found.append(Dimension(f"{name}_{index}", tuple(choices)))
        found.append(Dimension("resolution", self.resolutions))
        quantization = self.document.quantization
        found.append(Dimension("precision", tuple(dict.fromkeys(quantization.precision))))
        found.append(Dimension("calibration", tuple(dict.fromkeys(quantization.calibration))))
        for name, options in quantization.detector_options.items():
            found.append(Dimension(name, tuple(dict.fromkeys(options))))
        found.append(self._batch_dimension())
        found += self._engine_dimensions()
        return found

    def _batch_dimension(self) -> Dimension:
        where = self.document.where("serving", "batch_size")
        batch = read_dimension("batch_size", self.document.serving.batch_size)
        for choice in batch.choices:
            if type(choice) is not int:
                raise InputError(f"{where}batch_size must be whole numbers, but got {choice!r}")
        lowest = min((int(c) for c in batch.choices), default=batch.low)
        if lowest < 1:
            raise InputError(f"{where}batch_size must be at least 1, but got {lowest}")
        return batch

    def _engine_dimensions(self) -> list[Dimension]:
        declared = {tunable.name: tunable for tunable in (*self._tunables, *self._serving)}
        found = []
        for name, values in (self.document.serving.__pydantic_extra__ or {}).items():
            where = self.document.where("serving", name)
            if name not in declared:
                raise InputError(
                    f"{where}`serving.{name}` is not a tunable of `{self.document.engine}`; "
                    f"it has {', '.join(['batch_size', *declared])}"
                )
            dimension = read_dimension(name, values)
            tunable = declared[name]
            for value in dimension.choices or (dimension.low, dimension.high):
                if not _tunable_holds(tunable, value):
                    allowed = (
                        f"one of {list(tunable.choices)}"
                        if tunable.choices
                        else f"from {tunable.low} to {tunable.high}"
                    )
                    raise InputError(
                        f"{where}`serving.{name}` must be {allowed} on this machine, but got "
                        f"{value!r}"
                    )
            found.append(dimension)
        return found

    @property
    def size(self) -> int:
        """Upper bound on the number of distinct candidates."""
        return math.prod(dimension.size for dimension in self.dimensions.values())

    def fingerprint(self) -> dict[str, Any]:
        """What makes two spaces the same study: all but run lengths, limits and paths."""
        document = self.document.model_dump(mode="json")
        for key in ("trials", "measurement", "supernet", "network", "data"):
            del document[key]
        if self.document.baseline == BaselineSpec():
            del document["baseline"]  # studies begun before it could be told
        for key in ("equalize", "asymmetric", "float_layers"):
            if document["quantization"][key] is None:
                del document["quantization"][key]  # as above
        document["data"] = self.document.data.name
        if self.document.network is None:
            document["supernet_sha256"] = self._supernet.sha256
        else:
            document["network"] = self.document.network.model_dump(
                exclude={"source", "autoconfig"}  # their content is in the hash
            )
            document["network_sha256"] = self._supernet.sha256
        document["dimensions"] = content_key(
            [[d.name, list(d.choices), d.low, d.high] for d in self.dimensions.values()]
        )
        return document

    def decode(self, values: Mapping[str, Option]) -> Candidate:
        """The candidate of one value for each dimension, in canonical form."""

        def genes(name: str) -> tuple[Any, ...]:
            return tuple(values[f"{name}_{i}"] for i in range(len(self._genes[name])))

        subnet = Subnet(
            d=genes("depth"),
            ks=genes("kernel_size"),
            e=genes("expand_ratio"),
            w=genes("width"),
            resolution=int(values["resolution"]),
        )
        precision = str(values["precision"])
        quantization = Quantization(precision)
        if precision == "int8":
            names = self.document.quantization.detector_options
            extra = tuple((name, values[name]) for name in sorted(names))
            quantization = Quantization(precision, str(values["calibration"]), extra)
        options = {t.name: values.get(t.name, t.default) for t in self._tunables}
        engine = EngineConfig.make(self.document.engine, int(values["batch_size"]), **options)
        serving = tuple(sorted((t.name, values.get(t.name, t.default)) for t in self._serving))
        return Candidate(self._supernet.canonical(subnet), quantization, engine, serving)

    def encode(self, candidate: Candidate) -> dict[str, Option]:
        """Values that decode to `candidate`, or to the nearest the dimensions allow."""
        options = self.document.quantization.detector_options
        wanted: dict[str, Option] = {
            **{name: choices[0] for name, choices in options.items()},
            **dict(candidate.quantization.options),
            "resolution": candidate.subnet.resolution,
            "precision": candidate.quantization.precision,
            "calibration": candidate.quantization.calibration,
            "batch_size": candidate.engine.batch_size,
            **dict(candidate.engine.options),
            **dict(self._default_serving),
            **dict(candidate.serving),
        }
        for name, genes in (
            ("depth", candidate.subnet.d),
            ("kernel_size", candidate.subnet.ks),
            ("expand_ratio", candidate.subnet.e),
            ("width", candidate.subnet.w),
        ):
            wanted |= {f"{name}_{index}": value for index, value in enumerate(genes)}
        return {name: d.nearest(wanted[name]) for name, d in self.dimensions.items()}

    def sample(self, rng: random.Random) -> dict[str, Option]:
        """One uniform draw of every dimension."""
        return {name: dimension.sample(rng) for name, dimension in self.dimensions.items()}

    def baseline(self) -> Candidate:
        """Largest subnet, served as the file's `baseline` says (fp32, batch 1, defaults).

        It stands for the network as served without this tool, and is measured first, whether or
        not it is in the space.
        """
        served = self.document.baseline
        options = {t.name: t.default for t in self._tunables} | (served.__pydantic_extra__ or {})
        return Candidate(
            self._supernet.largest(self.resolutions[-1]),
            Quantization(served.precision),
            EngineConfig.make(self.document.engine, served.batch_size, **options),
            self._default_serving,
        )

    @property
    def _default_serving(self) -> tuple[tuple[str, Option], ...]:
        return tuple(sorted((tunable.name, tunable.default) for tunable in self._serving))

    def warm_start(self, uniform: int = 7) -> list[Candidate]:
        """Candidates worth knowing before any model is trained: extremes, a few uniform subnets.

        Multivariate TPE after the uniform subnets reached 0.98 of the reference hypervolume where
        the default sampler reached 0.86 (OFA surrogate, 200 evaluations). Where there is one
        network only: each precision at a middle and a large batch.
        """
        middle = self.resolutions[len(self.resolutions) // 2]
        batch = self.dimensions["batch_size"]
        sizes = [int(size) for size in batch.choices or (batch.low, batch.high)]
        low, high = min(sizes), max(sizes)
        batches = [batch.nearest(n) for n in (round(low * (high / low) ** (2 / 3)), high)]
        quantization = self.document.quantization
        defaults = {t.name: t.default for t in self._tunables}

        def make(subnet: Subnet, precision: str, batch_size: Option) -> Candidate:
            calibration = quantization.calibration[0] if precision == "int8" else "none"
            engine = EngineConfig.make(self.document.engine, int(batch_size), **defaults)
            candidate = Candidate(subnet, Quantization(precision, calibration), engine)
            return self.decode(self.encode(candidate))

        if self.document.network is not None:
            only = self._supernet.largest(middle)
            precisions = reversed(quantization.precision)
            return list(dict.fromkeys(make(only, p, b) for p in precisions for b in batches))
        fastest = "int8" if "int8" in quantization.precision else quantization.precision[-1]
        subnets = [
            self._supernet.largest(self.resolutions[-1]),
            self._supernet.smallest(self.resolutions[0]),
            self._supernet.largest(middle),
            self._supernet.smallest(middle),
            self._supernet.smallest(self.resolutions[-1]),
        ]
        # A few of the uniform subnets, the same ones every time.
        others = [s for r in self.resolutions for s in self._supernet.uniform(r)]
        random.Random(0).shuffle(others)
        subnets += others[:uniform]
        found = [make(s, fastest, batches[i % len(batches)]) for i, s in enumerate(subnets)]
        return list(dict.fromkeys(found))


def _tunable_holds(tunable: Tunes, value: Option) -> bool:
    if tunable.choices:
        return any(value == c and type(value) is type(c) for c in tunable.choices)
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    low, high = tunable.low, tunable.high
    return (low is None or value >= low) and (high is None or value <= high)
