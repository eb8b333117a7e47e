"""The INT4 engine on the processor passes what every engine must, and gives the exact logits."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.engine.protocol import Engine, Session, model_format
from autosinian.engine.registry import get_engine
from autosinian.errors import InputError
from autosinian.int4.engine import Int4Engine
from autosinian.int4.images import STEP
from autosinian.int4.model import Model
from autosinian.int4.network import Network
from autosinian.int4.predict import scaled
from autosinian.space.candidate import EngineConfig
from autosinian.testing.resident_conformance import ResidentConformance
from tests.int4.gpu import oracle
from tests.int4.small_networks import random_images, small_network

NETWORK = small_network(eight_bit=True, seed=7)


def exact(network: Network, images: NDArray[np.int8]) -> NDArray[np.float32]:
    return scaled(network, oracle.logits(network, images).astype(np.int32))


class TestInt4Engine(ResidentConformance):
    precision = "int4"
    first_precision = "int4"
    tolerance = 0.0

    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return Int4Engine()

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("int4")
        Model(NETWORK).write(folder)
        return folder / "model"

    def test_is_an_engine_of_the_registry_that_takes_its_own_format(self) -> None:
        assert isinstance(get_engine("int4"), Int4Engine)
        assert model_format(get_engine("int4")) == "int4"
        assert model_format(get_engine("openvino")) == "onnx"

    def test_logits_are_the_exact_ones_of_int8_and_of_float_samples(self, session: Session) -> None:
        images = random_images(NETWORK, session.batch_size, seed=9)
        wanted = exact(NETWORK, images)
        as_float = images.astype(np.float32) * np.float32(STEP)
        np.testing.assert_array_equal(session.infer(as_float), wanted)
        np.testing.assert_array_equal(session.infer(images), wanted)  # type: ignore[arg-type]

    def test_an_archive_is_built_as_its_folder_is(
        self, engine: Engine, model: Path, config: EngineConfig, engine_file: Path, tmp_path: Path
    ) -> None:
        archive = tmp_path / "model.int4"
        archive.write_bytes(Model(NETWORK).archive)
        engine.build(archive, "int4", config, tmp_path / "from-archive.engine")
        assert (tmp_path / "from-archive.engine").read_bytes() == engine_file.read_bytes()

    def test_several_streams_give_the_same(self, engine: Engine, engine_file: Path) -> None:
        options = {tunable.name: tunable for tunable in engine.tunables()}
        most = options["streams"].high
        assert most is not None
        config = EngineConfig.make("int4", self.batch_size, streams=most, threads=1)
        session = engine.open(engine_file, config)
        images = random_images(NETWORK, session.batch_size, seed=9)
        given: list[NDArray[np.float32]] = []
        for _ in range(4):
            session.submit(images, lambda logits, _: given.append(logits.copy()))  # type: ignore[union-attr, arg-type]
        session.close()
        assert len(given) == 4
        for logits in given:
            np.testing.assert_array_equal(logits, exact(NETWORK, images))

    def test_an_onnx_file_is_told_to_be_another_form(
        self, engine: Engine, config: EngineConfig, tmp_path: Path
    ) -> None:
        path = tmp_path / "network.onnx"
        path.write_bytes(b"\x08\x08onnx")
        with pytest.raises(InputError, match="must be an archive of an INT4 model"):
            engine.build(path, "int4", config, tmp_path / "x.engine")
