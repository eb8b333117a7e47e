"""The INT4 engine on a GPU: kernels, CUDA graphs and samples on the device, the same bits."""

from pathlib import Path

import numpy as np
import pytest

from autosinian.engine.protocol import Engine, Session
from autosinian.int4.engine import Int4Engine
from autosinian.int4.images import STEP
from autosinian.int4.model import Model
from autosinian.space.candidate import Option
from autosinian.testing.resident_conformance import ResidentConformance
from tests.int4.small_networks import random_images
from tests.int4.test_engine import NETWORK, exact

pytestmark = pytest.mark.gpu


class TestGpuInt4Engine(ResidentConformance):
    precision = "int4"
    first_precision = "int4"
    tolerance = 0.0
    options: tuple[tuple[str, Option], ...] = (
        ("graphs", True),
        ("samples", "device"),
        ("streams", 2),
    )

    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        engine = Int4Engine()
        assert engine.uses_gpu(), "the marker `gpu` asks for a GPU, but none is visible"
        return engine

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("int4")
        Model(NETWORK).write(folder)
        return folder / "model"

    def test_logits_are_those_of_exact_arithmetic(self, session: Session) -> None:
        images = random_images(NETWORK, session.batch_size, seed=9)
        as_float = images.astype(np.float32) * np.float32(STEP)
        np.testing.assert_array_equal(session.infer(as_float), exact(NETWORK, images))


class TestGpuInt4EngineFromHost(TestGpuInt4Engine):
    options = (("graphs", False), ("samples", "host"), ("copy_streams", 1))


class TestGpuInt4EngineLadder(TestGpuInt4Engine):
    options = (("graphs", True), ("samples", "device"), ("partial_batch", "ladder"))
