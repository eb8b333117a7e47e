"""The networks of a supernet: each subnet extracted, its batch norm recalibrated, exported."""

from pathlib import Path

import torch

from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.networks import Networks
from autosinian.quantize.export import export_onnx
from autosinian.space.candidate import Subnet
from autosinian.supernet import (
    Cost,
    Supernet,
    cost,
    recalibrate_batch_norm,
    write_config,
    write_net,
)

# Seen with 32 threads on a busy machine of 32 cores: 10 to 30 s for a recalibration that took
# 1.4 s with 6.
_MOST_THREADS = 8


class SubnetNetworks(Networks):
    """Makes the ONNX files of a supernet's subnets."""

    def __init__(self, supernet: Supernet, arrays: ArrayCache, folder: Path) -> None:
        super().__init__(supernet.sha256, arrays, folder)
        torch.set_num_threads(min(torch.get_num_threads(), _MOST_THREADS))
        self._supernet = supernet
        self._costs: dict[Subnet, Cost] = {}
        self._last: tuple[Subnet, torch.nn.Module] | None = None

    def cost(self, subnet: Subnet) -> Cost:
        if subnet not in self._costs:
            self._costs[subnet] = cost(self._supernet.extract(subnet), subnet.resolution)
        return self._costs[subnet]

    def module(self, subnet: Subnet) -> torch.nn.Module:
        """The subnet in eval mode, its batch norm recalibrated at its resolution."""
        if self._last is None or self._last[0] != subnet:
            module = self._supernet.extract(subnet)
            images = self._arrays.get("batch_norm", subnet.resolution).open_inputs()
            recalibrate_batch_norm(module, images)
            self._last = (subnet, module)
        return self._last[1]

    def write_config(self, subnet: Subnet, folder: Path) -> None:
        """Write the subnet's `net.config`."""
        write_config(folder, self._supernet.extract(subnet), subnet.resolution)

    def write_network(self, subnet: Subnet, folder: Path) -> None:
        """Write `net.config` and `init`."""
        try:
            write_net(folder, self.module(subnet), subnet.resolution)
        except RuntimeError as error:
            # So torch.save tells of a disk that is full.
            raise OSError(f"`init` cannot be written ({str(error).splitlines()[0]})") from error

    def float_keys(self, resolution: int) -> dict[str, str]:
        return {"batch_norm": self._arrays.get("batch_norm", resolution).key}

    def write_float(self, subnet: Subnet, path: Path) -> None:
        export_onnx(self.module(subnet), subnet.resolution, path)
