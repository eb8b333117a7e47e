"""LoadGen's user.conf from a run's settings."""

from collections.abc import Mapping

from autosinian.measure.measurement import SCENARIOS

# What LoadGen 6 reads from a user.conf; seeds it does not (each was tried).
_KEYS = {
    "min_duration_ms": "min_duration",
    "max_duration_ms": "max_duration",
    "min_query_count": "min_query_count",
    "max_query_count": "max_query_count",
    "performance_sample_count_override": "performance_sample_count_override",
    "sample_concatenate_permutation": "sample_concatenate_permutation",
    "offline_expected_qps": "target_qps",
    "server_target_qps": "target_qps",
    "server_coalesce_queries": "coalesce_queries",
    "server_max_async_queries": "max_async_queries",
    "server_target_latency_ns": "target_latency",
    "single_stream_expected_latency_ns": "target_latency",
    "multi_stream_expected_latency_ns": "target_latency",
    "multi_stream_samples_per_query": "samples_per_query",
    "server_target_latency_percentile": "target_latency_percentile",
    "single_stream_target_latency_percentile": "target_latency_percentile",
    "multi_stream_target_latency_percentile": "target_latency_percentile",
}
_OF_SCENARIO = {
    "offline": "Offline",
    "server": "Server",
    "single_stream": "SingleStream",
    "multi_stream": "MultiStream",
}


def user_conf(settings: Mapping[str, Mapping[str, int | float | bool]]) -> str:
    """The file's text for each scenario's settings by LoadGen's field names.

    A setting that LoadGen does not read from this file stands in it as a comment.
    """
    lines = ["# LoadGen settings of this bundle's runs: model.scenario.key = value"]
    for scenario in SCENARIOS:
        for name, value in sorted(settings.get(scenario, {}).items()):
            owner = next((s for p, s in _OF_SCENARIO.items() if name.startswith(p)), scenario)
            if owner != scenario:
                continue
            key = _KEYS.get(name)
            told = _in_file_units(name, value)
            if key is None:
                lines.append(f"# {scenario}: {name} = {told} (set by the worker)")
            else:
                lines.append(f"*.{scenario}.{key} = {told}")
    return "\n".join(lines) + "\n"


def _in_file_units(name: str, value: int | float | bool) -> int | float:
    """Nanoseconds as milliseconds, a fraction as percent, as LoadGen's files have them."""
    factor = 1e-6 if name.endswith("_ns") else 100.0 if name.endswith("_percentile") else 1.0
    number = float(value) * factor
    return int(number) if number.is_integer() else number
