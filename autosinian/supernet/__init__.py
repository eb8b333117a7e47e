"""OFA supernets: open, sample, extract, recalibrate, train; the only room that imports ofa. May
import errors, content, space's candidates and data."""

from autosinian.supernet.batch_norm import recalibrate_batch_norm
from autosinian.supernet.cost import Cost, cost
from autosinian.supernet.families import FAMILIES, SupernetConfig
from autosinian.supernet.genes import GeneSpace
from autosinian.supernet.hub import HUB, is_local
from autosinian.supernet.net_files import load_weights, read_net, write_config, write_net
from autosinian.supernet.supernet import FORMAT, InputRule, Supernet, open_supernet

__all__ = [
    "FAMILIES",
    "FORMAT",
    "HUB",
    "Cost",
    "GeneSpace",
    "InputRule",
    "Supernet",
    "SupernetConfig",
    "cost",
    "is_local",
    "load_weights",
    "open_supernet",
    "read_net",
    "recalibrate_batch_norm",
    "write_config",
    "write_net",
]
