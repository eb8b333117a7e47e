"""The final validation samples, made again from the data set that a bundle names."""

import json
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.data import Preprocessing, Role, open_dataset
from autosinian.data.arrays import RECORD, Arrays
from autosinian.errors import InputError
from autosinian.space.document import Document

ROLE: Role = "validation"


def describe_data(document: Document, arrays: Arrays, rule: Preprocessing) -> dict[str, Any]:
    """What must be known to make the arrays again, and to know them again, as plain data."""
    return {
        "name": document.data.name,
        "path": document.data.path,
        "role": ROLE,
        "limit": document.measurement.validation_samples,
        "samples": arrays.samples,
        "preprocessing": rule.rule(),
        "key": arrays.key,
        **content_of(arrays),
    }


def validation_arrays(data: dict[str, Any], path: Path | None, cache: Path) -> Arrays:
    """The arrays that `describe_data` described, below `cache`; `path` replaces the recorded one.

    Raises `InputError` where the samples are others than those the bundle was measured on: by
    content, as a copied data set has other dates.
    """
    rule = Preprocessing.from_rule(data["preprocessing"])
    source = path or (Path(data["path"]) if data["path"] else None)
    arrays = open_dataset(data["name"], source).arrays(ROLE, rule, cache, data["limit"])
    content = content_of(arrays)
    if any(data[name] != digest for name, digest in content.items()):
        place = f"those in `{source}`" if source else "the shipped ones"
        raise InputError(
            f"the {data['samples']} validation samples of `{data['name']}` must be those that the "
            f"bundle was measured on, but {place} give other inputs or labels; name the right "
            "data with `--data`"
        )
    return arrays


def content_of(arrays: Arrays) -> dict[str, str]:
    """Hashes of inputs and labels, whatever files they came from."""
    record = json.loads((arrays.inputs.parent / RECORD).read_text())
    assert arrays.labels is not None
    return {
        "inputs_sha256": str(record["inputs_sha256"]),
        "labels_sha256": file_sha256(arrays.labels),
    }
