"""Data sets, maps and preprocessing to arrays on disk; may import errors and content."""

from autosinian.data.arrays import Arrays
from autosinian.data.catalogue import open_dataset
from autosinian.data.dataset import Dataset
from autosinian.data.mapped import MapFiles
from autosinian.data.preprocessing import Preprocessing
from autosinian.data.roles import MEASURING_ROLES, ROLES, Role

__all__ = [
    "MEASURING_ROLES",
    "ROLES",
    "Arrays",
    "Dataset",
    "MapFiles",
    "Preprocessing",
    "Role",
    "open_dataset",
]
