"""`config.json`: the engine settings in the schema of Alibaba's MLPerf v1.0 submission.

One object for each system, by its id, beside `benchmark`, `default` and `scenario`; keys keep their
names there (`gpu_batch_size`) on processors too, so that harnesses of that schema read them.
"""

from collections.abc import Mapping
from typing import Any

from autosinian.measure.measurement import Measurement
from autosinian.space.candidate import Candidate

# What NVIDIA's drivers put before a GPU's name and the published files leave out.
_MAKERS = ("NVIDIA", "Tesla")

HEADROOM = 1.2
"""LoadGen makes its queries beforehand, from what is expected: a machine that turns out faster runs
out of them, which makes the run INVALID. Machines vary by more than LoadGen's own tenth."""

_SERVING = ("deque_timeout_us", "in_flight")


def system_id(device: str, units: int) -> str:
    """`<device>x<units>` without spaces or maker, as `A100-SXM4-40GBx1`, `T4x8`.

    Units are GPUs, or a processor's cores.
    """
    words = device.replace("(R)", "").replace("(TM)", "").split()
    while len(words) > 1 and words[0] in _MAKERS:
        words = words[1:]
    return f"{'-'.join(words)}x{units}"


def system_config(
    candidate: Candidate,
    device: str,
    units: int,
    runs: Mapping[str, Measurement],
    *,
    scenario: str,
    benchmark: str,
    dataset: str,
    performance_samples: int,
) -> dict[str, Any]:
    """The file's content. `runs` are the measured scenarios; `scenario` is the deciding one."""
    engine = candidate.engine
    options = dict(engine.options)
    system: dict[str, Any] = {
        "candidate": candidate.key,
        "config_ver": {},
        "engine": engine.engine,
        "gpu_batch_size": engine.batch_size,
        "gpu_inference_streams": options.pop("streams", 1),
        "performance_sample_count": performance_samples,
    }
    rates = {name: run.samples_per_second for name, run in runs.items()}
    if rates.get("Offline"):
        system["gpu_offline_expected_qps"] = round(HEADROOM * (rates["Offline"] or 0.0), 1)
    server = runs.get("Server")
    if server is not None:
        system["server_target_qps"] = server.target_qps or server.samples_per_second
    single = runs.get("SingleStream")
    if single is not None and single.latency_ns:
        # The middle and not the tail: the number of queries follows from it, and LoadGen itself
        # makes twice as many.
        usual = single.latency_ns.get("50.00", next(iter(single.latency_ns.values())))
        system["gpu_single_stream_expected_latency_ns"] = round(usual)
    serving = dict(candidate.serving)
    system |= {name: serving[name] for name in _SERVING if name in serving}
    for name in ("deque_timeout_us", "use_deque_limit", "use_graphs", "gpu_copy_streams"):
        if name in options:
            system[name] = options.pop(name)
    if options:
        system["engine_options"] = options
    resolution = candidate.subnet.resolution
    return {
        "benchmark": benchmark,
        "default": {
            "input_dtype": "fp32",
            "input_format": "linear",
            "map_path": f"data_maps/{dataset}/val_map.txt",
            "precision": candidate.quantization.precision,
            "tensor_path": f"${{PREPROCESSED_DATA_DIR}}/{dataset}/{resolution}/fp32_nchw",
            "use_graphs": False,
        },
        "scenario": scenario,
        system_id(device, units): system,
    }
