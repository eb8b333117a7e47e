"""An engine known by what it says of itself: it lives in another interpreter, or on given GPUs."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from autosinian.engine.protocol import Engine, Session, Tunable, model_format
from autosinian.space.candidate import EngineConfig


def describe_engine(engine: Engine) -> dict[str, Any]:
    """What `DescribedEngine` needs to know of an engine, JSON-ready."""
    return {
        "name": engine.name,
        "tunables": [asdict(tunable) for tunable in engine.tunables()],
        "precisions": list(engine.precisions()),
        "device": engine.device(),
        "versions": dict(engine.versions()),
        "uses_gpu": engine.uses_gpu(),
        "slow_imports": list(engine.slow_imports()),
        "model_format": model_format(engine),
    }


class DescribedEngine:
    """Answers every question as the engine itself did; builds and opens nothing."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.name = str(description["name"])
        self._tunables = tuple(
            Tunable(**{**value, "choices": tuple(value["choices"])})
            for value in description["tunables"]
        )
        self._precisions = tuple(description["precisions"])
        self._device = str(description["device"])
        self._versions = dict(description["versions"])
        self._uses_gpu = bool(description["uses_gpu"])
        self._slow_imports = tuple(description["slow_imports"])
        self.model_format = str(description["model_format"])

    def tunables(self) -> tuple[Tunable, ...]:
        """The settings beside batch size and precision that a search may vary."""
        return self._tunables

    def precisions(self) -> tuple[str, ...]:
        """The precisions that run natively where the engine lives."""
        return self._precisions

    def device(self) -> str:
        """Name of the device that it was asked on."""
        return self._device

    def versions(self) -> Mapping[str, str]:
        """Versions that decide whether an engine file fits."""
        return self._versions

    def uses_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self._uses_gpu

    def slow_imports(self) -> tuple[str, ...]:
        """Modules that a worker of its interpreter imports slowly."""
        return self._slow_imports

    def warm(self) -> None:
        """Does nothing: a worker's own engine has something to have ready."""

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Always raises: a worker builds."""
        self._refuse()

    def open(self, engine_file: Path, config: EngineConfig) -> Session:
        """Always raises: a worker opens."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError(
            f"engine {self.name!r} is only described here; a worker process builds and opens"
        )
