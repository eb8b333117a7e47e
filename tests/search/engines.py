"""The real OpenVINO engine, except that some batch sizes end badly."""

import os
import time
from pathlib import Path

from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.openvino_session import OpenVinoSession
from autosinian.space.candidate import EngineConfig

RAISES, ABORTS, HANGS, KILLED_ONCE, LEAKS = 3, 5, 7, 9, 13
RULED_OUT = 16
"""Fine by itself, but larger than the batch that leaks."""


class UnsteadyEngine(OpenVinoEngine):
    """Raises in `build`, aborts, hangs, leaks or is killed in `open`, by batch size."""

    name = "tests.search.engines:UnsteadyEngine"

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Build, but for one batch size."""
        if config.batch_size == RAISES:
            raise RuntimeError(f"no kernel for batch size {RAISES}\nand a second line")
        super().build(model, precision, config, engine_file)

    def open(self, engine_file: Path, config: EngineConfig) -> OpenVinoSession:
        """Open, but for some batch sizes."""
        if config.batch_size == ABORTS:
            os.abort()
        if config.batch_size == HANGS:
            time.sleep(1000)
        if config.batch_size == LEAKS:
            hoard = [bytearray(os.urandom(1 << 20) * 64) for _ in range(64)]
            time.sleep(1000 + len(hoard))
        before = engine_file.with_suffix(".killed")
        if config.batch_size == KILLED_ONCE and not before.exists():
            before.touch()
            os.kill(os.getpid(), 9)
        return super().open(engine_file, config)
