"""Data sets, maps and preprocessing to arrays on disk; may import errors and content."""

from autosinian.data.catalogue import open_dataset
from autosinian.data.dataset import Dataset
from autosinian.data.roles import MEASURING_ROLES, ROLES, Role

__all__ = ["MEASURING_ROLES", "ROLES", "Dataset", "Role", "open_dataset"]
