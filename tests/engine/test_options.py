from dataclasses import dataclass

import pytest

from autosinian.engine.options import complete_options
from autosinian.engine.protocol import Tunable
from autosinian.errors import InputError
from autosinian.space.candidate import EngineConfig


@dataclass(frozen=True)
class Declaring:
    name: str = "small"

    def versions(self) -> dict[str, str]:
        return {"small": "1.0"}

    def tunables(self) -> tuple[Tunable, ...]:
        return (
            Tunable("streams", 1, "batches at once", 1, 4),
            Tunable("graphs", True, "CUDA graphs", choices=(True, False)),
        )


def test_what_is_not_given_is_the_default() -> None:
    given = EngineConfig.make("small", 8, streams=3)
    assert complete_options(Declaring(), given) == {"streams": 3, "graphs": True}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EngineConfig.make("other", 8), "configuration of small .* got engine='other'"),
        (EngineConfig.make("small", 0), "batch_size >= 1"),
        (EngineConfig.make("small", 8, steams=2), "must be one of streams, graphs, got 'steams'"),
        (EngineConfig.make("small", 8, streams=5), "streams must be an integer from 1 to 4"),
        (EngineConfig.make("small", 8, graphs=1), "graphs must be one of"),
    ],
)
def test_what_the_engine_does_not_declare_is_refused(config: EngineConfig, message: str) -> None:
    with pytest.raises(InputError, match=message):
        complete_options(Declaring(), config)
