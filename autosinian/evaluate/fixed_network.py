"""The one network of a space without a supernet: its ONNX is at hand, precision is what varies."""

from pathlib import Path

from autosinian.content import atomic_file
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.networks import Networks
from autosinian.network.fixed import FixedNetwork
from autosinian.space.candidate import Subnet
from autosinian.supernet import Cost

NETWORK = "network.onnx"


class FixedNetworks(Networks):
    """Makes the ONNX files of one network, fp32 and int8."""

    def __init__(self, network: FixedNetwork, arrays: ArrayCache, folder: Path) -> None:
        super().__init__(network.sha256, arrays, folder)
        self._network = network

    @property
    def task(self) -> dict[str, int | str]:
        return self._network.task

    def cost(self, subnet: Subnet) -> Cost:
        return self._network.cost

    def write_config(self, subnet: Subnet, folder: Path) -> None:
        """Nothing: the architecture is the same in all trials."""

    def write_network(self, subnet: Subnet, folder: Path) -> None:
        """Write the network's ONNX as it was given, to `network.onnx`."""
        with atomic_file(folder / NETWORK) as temporary:
            temporary.write_bytes(self._network.source)

    def float_keys(self, resolution: int) -> dict[str, str]:
        """None: the network has its weights, batch norm included."""
        return {}

    def write_float(self, subnet: Subnet, path: Path) -> None:
        with atomic_file(path) as temporary:
            temporary.write_bytes(
                self._network.prepared.model.SerializeToString(deterministic=True)
            )
