"""The small bundle with the figures that audits and submissions read, on any engine."""

import json
import shutil
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.data import Preprocessing, open_dataset
from autosinian.data.arrays import RECORD
from autosinian.engine.registry import get_engine
from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle, open_bundle


def with_engine(bundle: Bundle, folder: Path, engine: str = "openvino") -> Path:
    """A copy of `bundle` in `folder`, sealed anew, that is served by `engine`."""
    shutil.copytree(bundle.folder, folder)
    result: dict[str, Any] = {**bundle.result}
    result["candidate"] = {**result["candidate"]}
    result["candidate"]["engine"] = {**result["candidate"]["engine"], "engine": engine}
    result["engine_versions"] = dict(get_engine(engine).versions())
    # Enough queries in advance: a run of a fraction of a second is then VALID at once.
    rate = {**result["scenarios"]["Offline"], "samples_per_second": 30_000.0}
    result["scenarios"] = {**result["scenarios"], "Offline": rate}
    result |= {"trial": 1, "supernet": {"name": "small.pt", "sha256": "0" * 64}}
    result["data"] = {**result["data"], **_hashes(result["data"], folder.parent / "hashed")}
    del result["hashes"], result["format"]
    files.seal(folder, result)
    return open_bundle(folder).folder


def _hashes(data: dict[str, Any], cache: Path) -> dict[str, str]:
    rule = Preprocessing.from_rule(data["preprocessing"])
    arrays = open_dataset(data["name"]).arrays("validation", rule, cache, data["limit"])
    assert arrays.labels is not None
    record = json.loads((arrays.inputs.parent / RECORD).read_text())
    return {
        "inputs_sha256": record["inputs_sha256"],
        "labels_sha256": file_sha256(arrays.labels),
    }
