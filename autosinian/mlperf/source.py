"""What can be run: a bundle, or the `net.config` and `init` of Alibaba's v0.7 submission."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autosinian.data.arrays import Arrays
from autosinian.data.preprocessing import Preprocessing, imagenet_short_side
from autosinian.errors import InputError
from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle, differences, open_bundle
from autosinian.space.candidate import Candidate, EngineConfig
from autosinian.supernet.net_files import read_resolution

BENCHMARK = "resnet50"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OLD_ENGINE = "openvino"
OLD_MEMORY_BYTES = 4 << 30

# `bs%d_is%d_%s_torch2trt.pth`: batch size, image size, chip (main.py of that submission).
_OLD_ENGINE_FILE = re.compile(r"bs(?P<batch>\d+)_is(?P<size>\d+)_(?P<chip>[^_]+)_.*")


@dataclass(frozen=True)
class Source:
    """A network with what is known of serving it.

    `precision` is that of the network as it was exported, `engine` and `serving` how it was
    served. `task` is empty for classification (see `autosinian.measure.Job`). `model` and `samples`
    are there where neither has to be made: what engines are built from, and what is measured on.
    `data` says which samples it was measured on: `name`, `path`, `limit` and, for bundles, the
    hashes of the arrays. `measured` are the exported figures by scenario. `bundle` is None for the
    old form, which has no ONNX and no engine of ours, and for a model that was never exported.
    """

    folder: Path
    name: str
    preprocessing: Preprocessing
    precision: str
    engine: EngineConfig
    data: dict[str, Any]
    benchmark: str = BENCHMARK
    serving: dict[str, int | float | bool] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory_bytes: int = OLD_MEMORY_BYTES
    devices: int = 1
    candidate_key: str = ""
    task: dict[str, int | str] = field(default_factory=dict)
    bundle: Bundle | None = None
    model: Path | None = None
    samples: Arrays | None = None

    @property
    def resolution(self) -> int:
        """Height and width of the inputs in pixels."""
        return self.preprocessing.resolution


def open_source(folder: Path) -> Source:
    """Open a bundle, whose files must be as they were exported, or a folder of the old form.

    Raises `InputError` for anything else, and for a bundle that was changed.
    """
    if (folder / files.RESULT).exists() or not (folder / files.NET_CONFIG).exists():
        return _of_bundle(open_bundle(folder))
    return _of_old(folder)


def _of_bundle(bundle: Bundle) -> Source:
    changed = differences(bundle)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise InputError(
            f"bundle `{bundle.folder}` must be as it was exported, but {changed[0]}{more}; export "
            "it again"
        )
    result = bundle.result
    try:
        candidate = Candidate.from_dict(result["candidate"])
        jobs = list(result["jobs"].values())
        return Source(
            folder=bundle.folder,
            name=f"{result['study']}-{result['candidate_key'][:8]}",
            preprocessing=Preprocessing.from_rule(result["preprocessing"]),
            precision=candidate.quantization.precision,
            engine=candidate.engine,
            data=result["data"],
            benchmark=jobs[0]["benchmark"],
            serving={
                name: value for name, value in candidate.serving if not isinstance(value, str)
            },
            measured=result["scenarios"],
            memory_bytes=max(OLD_MEMORY_BYTES, int(result["limits"]["memory_bytes"])),
            devices=max(len(job.get("devices", ())) for job in jobs),
            candidate_key=str(result["candidate_key"]),
            task=jobs[0].get("task", {}),
            bundle=bundle,
        )
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"`{bundle.folder}/{files.RESULT}` must be one of `autosinian export-best`, but lacks "
            f"{error}"
        ) from error


def _of_old(folder: Path) -> Source:
    resolution = read_resolution(folder)
    batch = old_batch_size(folder, resolution)
    return Source(
        folder=folder,
        name=folder.resolve().name,
        preprocessing=Preprocessing(
            resolution, IMAGENET_MEAN, IMAGENET_STD, resize=imagenet_short_side(resolution)
        ),
        precision="fp32",
        engine=EngineConfig.make(OLD_ENGINE, batch),
        data={"name": "imagenet", "path": None, "limit": None},
    )


def old_batch_size(folder: Path, resolution: int) -> int:
    """The batch size in the name of an engine file of that submission, or 1.

    Such a file is a TensorRT plan within a torch file, for the GPU in its name: nothing else of it
    can be used. Where several lie there the largest batch for this resolution counts.
    """
    found = []
    for path in folder.glob("bs*"):
        match = _OLD_ENGINE_FILE.fullmatch(path.name)
        if match and int(match["size"]) == resolution:
            found.append(int(match["batch"]))
    return max(found, default=1)


def engine_file_name(batch_size: int, resolution: int, device: str, precision: str) -> str:
    """The beginning of an engine file's name, in that submission's form: `bs8_is176_T4_int8_`.

    The chip is the last word of the device's name up to its first hyphen, as there.
    """
    words = re.sub(r"[^A-Za-z0-9.-]+", " ", device).split() or ["unknown"]
    chip = words[-1].split("-")[0]
    return f"bs{batch_size}_is{resolution}_{chip}_{precision}_"
