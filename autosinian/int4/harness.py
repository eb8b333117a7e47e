"""A model folder as something that the MLPerf commands run, without a study or a bundle."""

from pathlib import Path

from autosinian.content import atomic_file
from autosinian.int4.engine import PRECISION
from autosinian.int4.images import preprocessing
from autosinian.int4.model import open_model
from autosinian.int4.tensors import tensor_arrays
from autosinian.mlperf.places import arrays_folder, models_folder, writing_below
from autosinian.mlperf.source import Source
from autosinian.space.candidate import EngineConfig


def open_source(
    folder: Path,
    autoconfig: Path | None,
    tensors: Path,
    val_map: Path,
    batch_size: int,
    build: Path,
) -> Source:
    """A model, its kernels and its samples, ready for `autosinian.mlperf.harness.run`.

    Raises `InputError` for a model, an autoconfig, tensors or a map that do not fit each other.
    """
    model = open_model(folder, autoconfig)
    network = model.network
    with writing_below(build):
        samples = tensor_arrays(
            tensors, val_map, network.input_shape, network.classes, arrays_folder(build)
        )
        archive = models_folder(build) / f"{model.sha256}.int4"
        if not archive.exists():
            with atomic_file(archive) as temporary:
                temporary.write_bytes(model.archive)
    return Source(
        folder=folder,
        name=folder.resolve().name,
        preprocessing=preprocessing(network.input_shape[1]),
        precision=PRECISION,
        engine=EngineConfig.make("int4", batch_size),
        data={"name": "folder", "path": str(tensors), "limit": None},
        model=archive,
        samples=samples,
    )
