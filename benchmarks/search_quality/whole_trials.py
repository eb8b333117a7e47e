"""What most searches do about stages: nothing."""

from collections.abc import Mapping
from typing import Any


class WholeTrials:
    """A search that sees every trial through."""

    def goes_on(self, token: Any, known: Mapping[int, tuple[float, float]]) -> bool:
        """Always."""
        return True

    def stop(
        self,
        token: Any,
        known: Mapping[int, tuple[float, float]],
        seconds: Mapping[str, float],
    ) -> None:
        """Never called, as every trial goes on."""
        raise AssertionError("this search stops no trial")
