"""The PyTorch engine; GPU tests import nothing beyond numpy, onnx, onnxruntime and torch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autosinian.engine.processor import usable_cores
from autosinian.engine.protocol import Engine
from autosinian.engine.torch_engine import TorchEngine
from autosinian.testing.engine_conformance import EngineConformance
from tests.engine.small_models import write_conv_model


class _Torch(EngineConformance):
    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_conv_model(tmp_path_factory.mktemp("model") / "model.onnx")


class _TorchCpu(_Torch):
    @pytest.fixture(scope="class")
    def engine(self) -> Iterator[Engine]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            engine = TorchEngine()
            if self.precision not in engine.precisions():
                pytest.skip(f"{engine.device()} does not compute in {self.precision}")
            yield engine


class TestFp32(_TorchCpu):
    precision = "fp32"


class TestFp32TwoStreams(_TorchCpu):
    precision = "fp32"
    options = (("streams", min(2, usable_cores())), ("partial_batch", "ladder"))


class TestFp32ChannelsFirst(_TorchCpu):
    precision = "fp32"
    options = (("channels_last", False),)


class TestBf16(_TorchCpu):
    precision = "bf16"
    tolerance = 2e-2
