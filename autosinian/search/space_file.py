"""A search space file, its paths made absolute; light, so that a mistake in it is told at once."""

import os
from pathlib import Path

from autosinian.network.source import local_source
from autosinian.space.document import Document, read_document
from autosinian.supernet.hub import is_local


def read_space(path: Path, data: Path | None = None) -> Document:
    """Read a space file; paths in it are relative to it and come back absolute.

    `data`, relative to the current folder, is the data set's path in place of the file's.
    """
    document = read_document(path)
    updates: dict[str, object] = {}
    if document.supernet is not None and is_local(document.supernet):
        updates["supernet"] = _absolute(document.supernet, path.parent)
    if document.network is not None:
        source = local_source(document.network.source, lambda file: _absolute(file, path.parent))
        changes: dict[str, object] = {"source": source}
        if document.network.autoconfig is not None:
            changes["autoconfig"] = _absolute(document.network.autoconfig, path.parent)
        updates["network"] = document.network.model_copy(update=changes)
    if data is not None or document.data.path is not None:
        data_path = _absolute(str(data or document.data.path), Path() if data else path.parent)
        updates["data"] = document.data.model_copy(update={"path": data_path})
    return document.model_copy(update=updates)


def _absolute(text: str, folder: Path) -> str:
    return os.path.abspath(folder / Path(text).expanduser())  # noqa: PTH100  (keeps symlinks)
