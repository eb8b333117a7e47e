"""int8 images as harnesses keep them, beside a map of labels: one file an image, or one array."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.content import atomic_folder, content_key, file_sha256
from autosinian.data.arrays import Arrays
from autosinian.data.maps import MapLine, read_map
from autosinian.data.progress import Progress
from autosinian.errors import InputError
from autosinian.int4.images import INPUTS, LABELS, read_array


def tensor_arrays(
    path: Path, val_map: Path, shape: tuple[int, int, int], classes: int, cache: Path
) -> Arrays:
    """The images of a map's lines as one array with labels, int8, `N x C x H x W`.

    `path` is an array with a row for each line (or a folder that has it as `inputs.npy`), used
    where it lies; or a folder with `<name>.npy`, or `<name without its extension>.npy`, for each
    line, `C x H x W` of `shape`. Those are gathered below `cache`, once. Raises `InputError`.
    """
    lines = read_map(val_map, labels_needed=True, classes=classes)
    if not lines:
        raise InputError(f"map `{val_map}` must name images, but is empty")
    whole = path / INPUTS if path.is_dir() else path
    if whole.is_file() or not path.is_dir():
        return _in_one_array(whole, val_map, lines, shape, cache)
    files = [_file(path, line) for line in lines]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = content_key(str(path.resolve()), stats, file_sha256(val_map))
    folder = cache / key
    if not folder.is_dir():
        progress = Progress("reading tensors", len(lines))
        with atomic_folder(folder) as temporary:
            images = np.lib.format.open_memmap(
                temporary / INPUTS, mode="w+", dtype=np.int8, shape=(len(lines), *shape)
            )
            for number, (line, file) in enumerate(zip(lines, files, strict=True)):
                images[number] = _read(file, line, shape)
                progress.advance(number + 1)
            images.flush()
            _write_labels(temporary, lines)
    return Arrays(folder / INPUTS, folder / LABELS, key, len(lines))


def _in_one_array(
    path: Path, val_map: Path, lines: tuple[MapLine, ...], shape: tuple[int, int, int], cache: Path
) -> Arrays:
    array = read_array(path)
    if array.shape != (len(lines), *shape):
        raise InputError(
            f"`{path}` must have a row of {' x '.join(map(str, shape))} for each of the "
            f"{len(lines)} lines of `{val_map}`, got {' x '.join(map(str, array.shape))}"
        )
    stat = path.stat()
    key = content_key(str(path.resolve()), stat.st_size, stat.st_mtime_ns, file_sha256(val_map))
    folder = cache / key
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            _write_labels(temporary, lines)
    return Arrays(path, folder / LABELS, key, len(lines))


def _write_labels(folder: Path, lines: tuple[MapLine, ...]) -> None:
    np.save(folder / LABELS, np.array([line.label for line in lines], np.int64))


def _file(folder: Path, line: MapLine) -> Path:
    whole = folder / f"{line.name}.npy"
    path = whole if whole.is_file() else (folder / line.name).with_suffix(".npy")
    if not path.is_file():
        raise InputError(f"{line.where}: `{whole}` or `{path}` must be there, but neither is")
    return path


def _read(path: Path, line: MapLine, shape: tuple[int, int, int]) -> NDArray[np.int8]:
    try:
        tensor = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{line.where}: `{path}` must be a .npy file, but: {error}") from error
    if not isinstance(tensor, np.ndarray) or tensor.dtype != np.int8 or tensor.shape != shape:
        told = getattr(tensor, "dtype", "an archive"), getattr(tensor, "shape", ())
        raise InputError(
            f"{line.where}: `{path}` must be int8, {' x '.join(map(str, shape))}, got "
            f"{told[0]}, {' x '.join(map(str, told[1]))}"
        )
    return tensor
