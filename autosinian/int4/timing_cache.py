"""Measured times of kernels kept on disk by everything they depend on."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from autosinian.content import content_key
from autosinian.int4.configurations import Configuration
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.tuning import LayerTimer


class CachedTimer:
    """A `LayerTimer` that asks another only for what `path` does not know yet.

    The file has one JSON object a line, appended as soon as it is measured, so that an
    interrupted tuning loses nothing; lines that are no such object (a torn last line) are passed
    over. The key covers shape, configuration, batch and `about`: GPU, driver and versions. What
    could not run or was stopped early is not kept.
    """

    def __init__(self, timer: LayerTimer, path: Path, batch: int, about: Mapping[str, str]) -> None:
        self._timer = timer
        self._path = path
        self._batch = batch
        self._about = dict(about)
        self._known: dict[str, float] = {}
        self.measured = 0
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._remember(line)

    def _remember(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            return
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            seconds = entry.get("seconds")
            if isinstance(seconds, float) and seconds > 0:
                self._known[entry["key"]] = seconds

    def _key(self, shape: LayerShape, configuration: Configuration) -> str:
        return content_key(asdict(shape), asdict(configuration), self._batch, self._about)

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        """Compile what has to be measured."""
        self._timer.prepare(
            [
                (shape, choice)
                for shape, choice in wanted
                if self._key(shape, choice) not in self._known
            ]
        )

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        """From the file, or measured and kept."""
        key = self._key(shape, configuration)
        if key not in self._known:
            spent = self._timer.seconds(shape, configuration, stop_above)
            self.measured += 1
            if not math.isfinite(spent):
                return spent
            self._known[key] = spent
            self._path.parent.mkdir(parents=True, exist_ok=True)
            entry = {"key": key, "shape": shape.text, "id": configuration.id, "seconds": spent}
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        return self._known[key]
