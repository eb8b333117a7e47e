"""The INT4 engine: models of 4-bit integers on a GPU with kernels of our own, or exactly the same
on the processor.

An engine file keeps the model's archive, autoconfig included. torch is imported at the first build
or open.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from autosinian.engine.device_session import DeviceSession
from autosinian.engine.engine_file import EngineHeader, write_engine_file
from autosinian.engine.options import complete_options, read_for
from autosinian.engine.protocol import Tunable
from autosinian.engine.torch_engine import TorchEngine
from autosinian.errors import InputError
from autosinian.int4.model import open_model, read_archive
from autosinian.space.candidate import EngineConfig

PRECISION = "int4"

_SHARED_TUNABLES = (
    "streams",
    "threads",
    "copy_streams",
    "graphs",
    "samples",
    "partial_batch",
)
_SECTION = "model"


class Int4Engine:
    """On the first visible GPU where there is one, else on the processor; the same bits on both."""

    name = "int4"
    model_format = "int4"

    def __init__(self) -> None:
        # Devices, streams and samples are torch's; the network is not.
        self._torch = TorchEngine()

    def tunables(self) -> tuple[Tunable, ...]:
        """How batches are served; which kernels run is the model's autoconfig."""
        return tuple(t for t in self._torch.tunables() if t.name in _SHARED_TUNABLES)

    def precisions(self) -> tuple[str, ...]:
        """`int4`: what each layer's bits are is the model's own matter."""
        return (PRECISION,)

    def device(self) -> str:
        """The model of the GPU or of the processor."""
        return self._torch.device()

    def versions(self) -> Mapping[str, str]:
        """Those of torch and the device, on a GPU also of triton."""
        versions = dict(self._torch.versions())
        return versions | {"triton": version("triton")} if self.uses_gpu() else versions

    def uses_gpu(self) -> bool:
        """Whether a GPU is visible."""
        return self._torch.uses_gpu()

    def slow_imports(self) -> tuple[str, ...]:
        """What imports torch and its parts."""
        return ("autosinian.int4.serving",)

    def warm(self) -> None:
        """Loads torch; on a GPU makes its context."""
        self._torch.warm()

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Prove that `model`, a folder or an archive, runs here and write it to `engine_file`."""
        options = complete_options(self, config)
        if precision != PRECISION:
            raise InputError(f"precision must be {PRECISION} for engine int4, got {precision!r}")
        opened = open_model(model)
        from autosinian.int4.serving import prove

        prove(opened, config.batch_size, gpu=self.uses_gpu())
        header = EngineHeader(
            engine=self.name,
            device=self.device(),
            versions=dict(self.versions()),
            model_sha256=opened.sha256,
            precision=precision,
            batch_size=config.batch_size,
            options=options,
            input_shape=opened.network.input_shape,
            classes=opened.network.classes,
        )
        write_engine_file(engine_file, header, {_SECTION: opened.archive})

    def open(self, engine_file: Path, config: EngineConfig) -> DeviceSession:
        """Load `engine_file` with every option of `config`."""
        header, sections, options = read_for(self, engine_file, config)
        model = read_archive(sections[_SECTION], f"engine file {engine_file}")
        from autosinian.int4.serving import open_session

        return open_session(model, header.batch_size, options)
