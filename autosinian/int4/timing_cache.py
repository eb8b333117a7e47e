"""Measured times of kernels and networks kept on disk by everything they depend on."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from autosinian.content import content_key
from autosinian.int4.configurations import Configuration
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.tuning import LayerTimer


class KeptTimes:
    """Seconds by key in a file with one JSON object a line.

    A time is appended as soon as it is measured, so that an interrupted tuning loses nothing;
    lines that are no such object (a torn last line) are passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, float] = {}
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

    def get(self, key: str) -> float | None:
        """What is known of `key`."""
        return self._known.get(key)

    def keep(self, key: str, seconds: float, **told: str | int) -> None:
        """Write down `seconds`, with what a reader of the file may want to know."""
        self._known[key] = seconds
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": key, **told, "seconds": seconds}) + "\n")


class CachedTimer:
    """A `LayerTimer` that asks another only for what `kept` does not know yet.

    The key covers shape, configuration, batch and `about`: GPU, driver and versions. What could
    not run or was stopped early is not kept. The other timer is made when it is first needed.
    """

    def __init__(
        self,
        timer: Callable[[], LayerTimer],
        kept: KeptTimes,
        batch: int,
        about: Mapping[str, str],
    ) -> None:
        self._make_timer = timer
        self._timer: LayerTimer | None = None
        self._kept = kept
        self._batch = batch
        self._about = dict(about)
        self.measured = 0

    def _key(self, shape: LayerShape, configuration: Configuration) -> str:
        return content_key(asdict(shape), asdict(configuration), self._batch, self._about)

    def _measuring(self) -> LayerTimer:
        if self._timer is None:
            self._timer = self._make_timer()
        return self._timer

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        """Compile what has to be measured."""
        missing = [
            (shape, choice)
            for shape, choice in wanted
            if self._kept.get(self._key(shape, choice)) is None
        ]
        if missing or self._timer is not None:
            self._measuring().prepare(missing)

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        """From the file, or measured and kept."""
        key = self._key(shape, configuration)
        known = self._kept.get(key)
        if known is None:
            known = self._measuring().seconds(shape, configuration, stop_above)
            self.measured += 1
            if math.isfinite(known):
                self._kept.keep(key, known, shape=shape.text, id=configuration.id)
        return known


def network_key(
    layers: Mapping[str, LayerShape],
    choices: Mapping[str, Configuration],
    batch: int,
    streams: int,
    about: Mapping[str, str],
) -> str:
    """What a whole network's time depends on: its launches in order, batch, streams and GPU."""
    launches = [
        [asdict(shape), choices[name].id if name in choices else None]
        for name, shape in layers.items()
    ]
    return content_key("network", launches, batch, streams, dict(about))
