"""What each key of a system's entry in `config.json` does here, or why it does nothing.

The names are those of NVIDIA's MLPerf harness, which Alibaba's v1.0 submission uses;
`engine`, `engine_options`, `in_flight` and `candidate`, the key of the network that the settings
were found for, are our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autosinian.engine.protocol import Tunable
from autosinian.errors import InputError
from autosinian.space.candidate import Option

_NUMBER: tuple[type, ...] = (int, float)
_FLAG = (bool,)
_TEXT = (str,)
_TABLE = (dict,)

# Key -> types of its value.
KEYS: dict[str, tuple[type, ...]] = {
    "accuracy_level": _TEXT,
    "active_sms": _NUMBER,
    "candidate": _TEXT,
    "config_ver": _TABLE,
    "deque_timeout_us": _NUMBER,
    "deque_timeout_usec": _NUMBER,
    "engine": _TEXT,
    "engine_options": _TABLE,
    "extends": (list,),
    "gpu_batch_size": (int,),
    "gpu_copy_streams": (int,),
    "gpu_inference_streams": (int,),
    "gpu_multi_stream_expected_latency_ns": _NUMBER,
    "gpu_offline_expected_qps": _NUMBER,
    "gpu_single_stream_expected_latency_ns": _NUMBER,
    "in_flight": (int,),
    "input_dtype": _TEXT,
    "input_format": _TEXT,
    "map_path": _TEXT,
    "performance_sample_count": (int,),
    "precision": _TEXT,
    "run_infer_on_copy_streams": _FLAG,
    "scales": _TABLE,
    "server_target_qps": _NUMBER,
    "start_from_device": _FLAG,
    "tensor_path": _TEXT,
    "use_cuda_thread_per_device": _FLAG,
    "use_deque_limit": _FLAG,
    "use_graphs": _FLAG,
    "use_triton": _FLAG,
    "warmup_duration": _NUMBER,
}

# Key -> LoadGen's field, and the scenario it belongs to ("" is every one).
_LOADGEN = {
    "gpu_multi_stream_expected_latency_ns": ("multi_stream_expected_latency_ns", "MultiStream"),
    "gpu_offline_expected_qps": ("offline_expected_qps", "Offline"),
    "gpu_single_stream_expected_latency_ns": ("single_stream_expected_latency_ns", "SingleStream"),
    "performance_sample_count": ("performance_sample_count_override", ""),
    "server_target_qps": ("server_target_qps", "Server"),
}
_WHOLE = ("performance_sample_count", "gpu_single_stream_expected_latency_ns")

# Key -> names that engines give such a tunable.
_TUNABLES = {
    "gpu_inference_streams": ("streams", "inference_streams"),
    "gpu_copy_streams": ("copy_streams",),
    "use_graphs": ("cuda_graph", "cuda_graphs", "use_graphs", "graphs"),
    "run_infer_on_copy_streams": ("infer_on_copy_streams",),
}

_NOT_APPLICABLE = {
    "accuracy_level": "accuracy is printed; `autosinian submission` holds it against the bar",
    "active_sms": "engines are built with the whole GPU",
    "input_dtype": "engines take float32 and quantize in their first layer",
    "input_format": "engines take NCHW and lay out as they like",
    "tensor_path": "arrays are made from images and map, and kept by content",
    "use_cuda_thread_per_device": "each GPU has its own threads",
    "use_triton": "there is no Triton server here",
}


@dataclass(frozen=True)
class Applied:
    """What an entry asks for. None and empty: nothing is asked.

    `settings` are LoadGen's fields, `sut` our side of LoadGen, `options` the engine's tunables.
    `idle` are lines on keys that do nothing here, with the reason.
    """

    engine: str | None = None
    batch_size: int | None = None
    precision: str | None = None
    map_path: str | None = None
    options: dict[str, Option] = field(default_factory=dict)
    settings: dict[str, int | float | bool] = field(default_factory=dict)
    sut: dict[str, int | float | bool] = field(default_factory=dict)
    idle: tuple[str, ...] = ()


def check_entry(entry: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` for a key that is not of the schema or a value of another type."""
    for name, value in entry.items():
        if name not in KEYS:
            raise InputError(f"{where}: a key must be one of {', '.join(KEYS)}; got `{name}`")
        types = KEYS[name]
        number = types is _NUMBER or types == (int,)
        if not isinstance(value, types) or (number and isinstance(value, bool)):
            wanted = " or ".join(kind.__name__ for kind in types)
            raise InputError(f"{where}: `{name}` must be {wanted}, but got {value!r}")
        if isinstance(value, int | float) and value < 0:
            raise InputError(f"{where}: `{name}` must not be below 0, but got {value!r}")
    for name in ("gpu_batch_size", "gpu_inference_streams"):
        if entry.get(name) == 0:
            raise InputError(f"{where}: `{name}` must be at least 1, but got 0")


def apply_entry(
    entry: Mapping[str, Any], scenario: str, tunables: Sequence[Tunable], engine: str
) -> Applied:
    """What a resolved entry means for one scenario on an engine with these tunables."""
    applied = Applied(
        engine=entry.get("engine"),
        batch_size=entry.get("gpu_batch_size"),
        precision=entry.get("precision"),
        map_path=entry.get("map_path"),
    )
    names = {tunable.name for tunable in tunables}
    options: dict[str, Option] = dict(entry.get("engine_options", {}))
    settings: dict[str, int | float | bool] = {}
    sut: dict[str, int | float | bool] = {}
    idle: list[str] = []
    for key, value in sorted(entry.items()):
        if key in _NOT_APPLICABLE:
            idle.append(f"`{key}` does nothing: {_NOT_APPLICABLE[key]}")
        elif key in _LOADGEN:
            field_name, owner = _LOADGEN[key]
            if owner in ("", scenario):
                settings[field_name] = round(value) if key in _WHOLE else value
            else:
                idle.append(f"`{key}` does nothing: it is for {owner}")
        elif key in _TUNABLES:
            known = [name for name in _TUNABLES[key] if name in names]
            if known:
                options[known[0]] = value
            else:
                idle.append(f"`{key}` does nothing: engine {engine} has no such setting")
        elif key == "start_from_device" and "samples" in names:
            options["samples"] = "device" if value else "host"
        elif key == "start_from_device":
            idle.append(f"`{key}` does nothing: engine {engine} has one place for samples")
        elif key == "warmup_duration":
            sut["warmup_s"] = value
        elif key == "in_flight" and scenario == "Server":
            sut["in_flight"] = value
    queue = entry.get("deque_timeout_us", entry.get("deque_timeout_usec"))
    if scenario == "Server" and queue is not None:
        # As in that harness: without the limit a batch takes what is there, and waits for none.
        sut["deque_timeout_us"] = queue if entry.get("use_deque_limit", True) else 0
    elif queue is not None:
        idle.append("`deque_timeout_us` does nothing: it is for Server")
    return replace(applied, options=options, settings=settings, sut=sut, idle=tuple(idle))
