"""The one model of integers of a space: nothing is made of it but its archive."""

from pathlib import Path

from autosinian.content import atomic_file
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.networks import Networks
from autosinian.int4.searched import Int4Network
from autosinian.space.candidate import Candidate, Subnet
from autosinian.supernet import Cost


class Int4Networks(Networks):
    """Gives the archive of one model, whatever the candidate: it has one precision."""

    model_name = "model.int4"

    def __init__(self, network: Int4Network, arrays: ArrayCache, folder: Path) -> None:
        super().__init__(network.sha256, arrays, folder)
        self._network = network

    def cost(self, subnet: Subnet) -> Cost:
        return self._network.cost

    def write_config(self, subnet: Subnet, folder: Path) -> None:
        """Nothing: the architecture is the same in all trials."""

    def write_network(self, subnet: Subnet, folder: Path) -> None:
        """Write the model as it was published: the folder `model`, and `autoconfig` if any."""
        self._network.model.write(folder)

    def float_keys(self, resolution: int) -> dict[str, str]:
        """None: the network has its weights."""
        return {}

    def write_float(self, subnet: Subnet, path: Path) -> None:
        """Always raises: nothing of it is in float."""
        raise RuntimeError(f"{self._network.name} has no float form")

    def model(self, candidate: Candidate) -> Path:
        """The archive."""
        path = self._folder / f"{self._network.sha256}.{self.model_name.partition('.')[2]}"
        if not path.exists():
            with atomic_file(path) as temporary:
                temporary.write_bytes(self._network.model.archive)
        return path
