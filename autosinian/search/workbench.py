"""Everything a study works with, opened from its document: network, data, engine, store."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from autosinian import __version__
from autosinian.data import Dataset, open_dataset
from autosinian.engine.protocol import Engine, model_format
from autosinian.errors import InputError
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.evaluator import Evaluator
from autosinian.evaluate.fixed_network import FixedNetworks
from autosinian.evaluate.int4_network import Int4Networks
from autosinian.evaluate.networks import Networks
from autosinian.evaluate.subnets import SubnetNetworks
from autosinian.int4.model import is_model
from autosinian.int4.searched import Int4Network, open_int4_network
from autosinian.measure.serving import serving_tunables
from autosinian.measure.workers import DEFAULT_CHOICE, WorkerChoice, Workers
from autosinian.network.fixed import FixedNetwork, open_network
from autosinian.search.storage import STUDIES, work_folder
from autosinian.space.document import Document
from autosinian.space.space import Space
from autosinian.store import Store
from autosinian.supernet import Supernet, open_supernet

PACKAGES = ("mlcommons-loadgen", "numpy", "onnx", "onnxruntime", "optuna", "torch")


@dataclass(frozen=True)
class Workbench:
    """The rooms of one study, opened and checked against each other."""

    document: Document
    network: Supernet | FixedNetwork | Int4Network
    engine: Engine
    workers: Workers
    space: Space
    store: Store
    evaluator: Evaluator
    folder: Path

    @property
    def device(self) -> str:
        """What figures are measured on, e.g. `2 x NVIDIA H100`; which of several is not said."""
        return self.workers.title(self.engine.device())

    def versions(self) -> dict[str, str]:
        """Versions of everything that can change a figure."""
        packages = {name: version(name) for name in PACKAGES}
        return {
            "autosinian": __version__,
            "python": platform.python_version(),
            **packages,
            **dict(self.engine.versions()),
            "device": self.device,
        }


def open_workbench(
    document: Document, name: str, url: str, choice: WorkerChoice = DEFAULT_CHOICE
) -> Workbench:
    """Open what `document` names; `choice` says where its workers run.

    Raises `InputError` where a part is missing or does not fit.
    """
    data_path = Path(document.data.path) if document.data.path else None
    dataset = open_dataset(document.data.name, data_path)
    network = _open_network(document)
    _check_task(document, network, dataset)
    engine, workers = choice.open(document.engine)
    wanted = "int4" if isinstance(network, Int4Network) else "onnx"
    if model_format(engine) != wanted:
        raise InputError(
            f"engine `{engine.name}` builds {model_format(engine)} models, but `{network.name}` "
            f"is {wanted}: `engine: int4` is for model folders of integers, and they for it alone"
        )
    space = Space(
        document,
        network,
        engine.tunables(),
        engine.precisions(),
        serving_tunables(tuple(document.scenarios)),
    )
    store = Store(url, name)
    folder = work_folder(name).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`{folder}` must be a folder that can be written: {error}") from error
    cache = STUDIES.absolute() / "arrays"
    arrays = ArrayCache(dataset, network.preprocessing, document.measurement, cache)
    networks = _networks(network, arrays, folder / "models")
    scenarios = tuple(document.scenarios)
    evaluator = Evaluator(
        networks, arrays, engine, workers, document.measurement, scenarios, store, folder
    )
    return Workbench(document, network, engine, workers, space, store, evaluator, folder)


def _check_task(
    document: Document, network: Supernet | FixedNetwork | Int4Network, dataset: Dataset
) -> None:
    """Raise `InputError` unless network, data set and what is searched are of one task."""
    task = "classification"
    if isinstance(network, FixedNetwork):
        task = str(network.task.get("name", task))
    if task != dataset.task:
        raise InputError(
            f"network and data set must be of one task, but `{network.name}` is for {task} and "
            f"`{document.data.name}` for {dataset.task}"
        )
    for option in document.quantization.detector_options if task != "detection" else ():
        raise InputError(
            f"{document.where('quantization', option)}`quantization.{option}` is for detectors, "
            f"but `{network.name}` is for {task}; remove it"
        )
    if network.classes != dataset.classes:
        raise InputError(
            f"network and data set must have the same classes, but `{network.name}` has "
            f"{network.classes} and `{document.data.name}` has {dataset.classes}"
        )
    names = network.class_names if isinstance(network, FixedNetwork) else ()
    if names and names != dataset.class_names:
        raise InputError(
            f"network and data set must name the same classes, but `{network.name}` has "
            f"{', '.join(names)} and `{document.data.name}` has {', '.join(dataset.class_names)}"
        )


def _open_network(document: Document) -> Supernet | FixedNetwork | Int4Network:
    if document.network is not None:
        if is_model(Path(document.network.source)):
            return open_int4_network(document.network)
        return open_network(document.network)
    assert document.supernet is not None  # the document has one of the two
    return open_supernet(document.supernet)


def _networks(
    network: Supernet | FixedNetwork | Int4Network, arrays: ArrayCache, folder: Path
) -> Networks:
    if isinstance(network, Int4Network):
        return Int4Networks(network, arrays, folder)
    if isinstance(network, FixedNetwork) and network.task:
        from autosinian.evaluate.detectors import DetectorNetworks
        from autosinian.network.detector import DetectorNetwork

        assert isinstance(network, DetectorNetwork)
        return DetectorNetworks(network, arrays, folder)
    if isinstance(network, FixedNetwork):
        return FixedNetworks(network, arrays, folder)
    return SubnetNetworks(network, arrays, folder)
