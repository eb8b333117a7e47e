"""The ONNX of a source in a wanted precision: its own, or made again and kept by content."""

from pathlib import Path

from autosinian.content import content_key, file_sha256
from autosinian.errors import InputError
from autosinian.evaluate.quiet import working
from autosinian.export import bundle as files
from autosinian.mlperf.source import Source


def network(source: Source, precision: str, ranges: Path | None, folder: Path) -> Path:
    """The ONNX file for `precision`, made below `folder` where the source holds it not.

    INT8 takes the ranges of `ranges`, a calibrator.cache, else of the bundle. Raises `InputError`
    where there are none, or where they are not of this network.
    """
    if source.model is not None:
        return source.model
    own = source.bundle.model if source.bundle is not None else None
    int8 = precision == "int8"
    if own is not None and ranges is None and int8 == (source.precision == "int8"):
        return own
    if not int8:
        return float_network(source, folder)
    if ranges is None:
        ranges = source.folder / files.CALIBRATOR_CACHE
        if source.bundle is None or source.precision != "int8" or source.task:
            raise InputError(
                f"`{source.folder}` in int8 needs ranges, but has none: collect them with "
                "`autosinian calibrate` and name the file with `--calibrator-cache`"
            )
    if source.task:
        raise InputError(
            f"`{source.folder}` is a detector's, whose INT8 is made of its encodings: leave "
            "`--calibrator-cache` out"
        )
    # Heavy: onnx and onnxruntime.
    from autosinian.quantize.qdq import quantize
    from autosinian.quantize.ranges import read_ranges

    found = read_ranges(ranges)
    base = float_network(source, folder)
    path = folder / f"{content_key(file_sha256(base), file_sha256(ranges))}.onnx"
    if not path.exists():
        with working():
            quantize(base, found, path)
    return path


def float_network(source: Source, folder: Path) -> Path:
    """The fp32 ONNX, as the export made it."""
    if source.bundle is not None and source.precision != "int8":
        return source.bundle.model
    fixed = source.folder / files.NETWORK
    parts = (
        [fixed]
        if fixed.exists()
        else [source.folder / files.NET_CONFIG, source.folder / files.INIT]
    )
    for part in parts:
        if not part.is_file():
            raise InputError(f"`{source.folder}` must hold `{part.name}`, but does not")
    key = content_key([file_sha256(part) for part in parts], source.resolution, _versions())
    path = folder / f"{key}.onnx"
    if path.exists():
        return path
    with working():
        if fixed.exists():
            _prepare_fixed(source, fixed, path)
        else:
            _export_subnet(source, path)
    return path


def _export_subnet(source: Source, path: Path) -> None:
    from autosinian.quantize.export import export_onnx
    from autosinian.supernet.net_files import read_net

    module, _ = read_net(source.folder)
    export_onnx(module, source.resolution, path)


def _prepare_fixed(source: Source, fixed: Path, path: Path) -> None:
    from autosinian.content import atomic_file
    from autosinian.network.prepare import prepare
    from autosinian.quantize.onnx_file import load_onnx

    prepared = prepare(load_onnx(fixed), source.resolution, f"`{fixed}`")
    with atomic_file(path) as temporary:
        temporary.write_bytes(prepared.model.SerializeToString(deterministic=True))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "onnx", "onnxruntime")}
