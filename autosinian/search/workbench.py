"""Everything a study works with, opened from its document: network, data, engine, store."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from autosinian import __version__
from autosinian.data import open_dataset
from autosinian.engine.protocol import Engine
from autosinian.errors import InputError
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.evaluator import Evaluator
from autosinian.evaluate.fixed_network import FixedNetworks
from autosinian.evaluate.networks import Networks
from autosinian.evaluate.subnets import SubnetNetworks
from autosinian.measure.serving import serving_tunables
from autosinian.measure.workers import DEFAULT_CHOICE, WorkerChoice, Workers
from autosinian.network.fixed import FixedNetwork, open_network
from autosinian.search.storage import STUDIES, work_folder
from autosinian.space.document import Document
from autosinian.space.space import Space
from autosinian.store import Store
from autosinian.store.patience import Patience
from autosinian.supernet import Supernet, open_supernet

PACKAGES = ("mlcommons-loadgen", "numpy", "onnx", "onnxruntime", "optuna", "torch")


@dataclass(frozen=True)
class Workbench:
    """The rooms of one study, opened and checked against each other."""

    document: Document
    network: Supernet | FixedNetwork
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
    document: Document,
    name: str,
    url: str,
    choice: WorkerChoice = DEFAULT_CHOICE,
    patience: Patience | None = None,
) -> Workbench:
    """Open what `document` names; `choice` says where its workers run, `patience` how long the
    store waits for a database that is away.

    Raises `InputError` where a part is missing or does not fit.
    """
    data_path = Path(document.data.path) if document.data.path else None
    dataset = open_dataset(document.data.name, data_path)
    network = _open_network(document)
    if network.classes != dataset.classes:
        raise InputError(
            f"network and data set must have the same classes, but `{network.name}` has "
            f"{network.classes} and `{document.data.name}` has {dataset.classes}"
        )
    engine, workers = choice.open(document.engine)
    space = Space(
        document,
        network,
        engine.tunables(),
        engine.precisions(),
        serving_tunables(tuple(document.scenarios)),
    )
    store = Store(url, name, patience)
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


def _open_network(document: Document) -> Supernet | FixedNetwork:
    if document.network is not None:
        return open_network(document.network)
    assert document.supernet is not None  # the document has one of the two
    return open_supernet(document.supernet)


def _networks(network: Supernet | FixedNetwork, arrays: ArrayCache, folder: Path) -> Networks:
    if isinstance(network, FixedNetwork):
        return FixedNetworks(network, arrays, folder)
    return SubnetNetworks(network, arrays, folder)
