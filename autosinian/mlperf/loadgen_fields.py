"""LoadGen's settings by name, for options `--lgts-<field>` and `--lgls-<field>`.

The names are those of LoadGen 6's `TestSettings`, `LogSettings` and `LogOutputSettings`, with their
types; a table, because a command's options must be known before LoadGen is loaded.
"""

from collections.abc import Mapping

from autosinian.errors import InputError

Value = int | float | bool | str

TEST_FIELDS: Mapping[str, type] = {
    "accuracy_log_probability": float,
    "accuracy_log_rng_seed": int,
    "accuracy_log_sampling_target": int,
    "accuracy_sample_count_override": int,
    "infer_token_latencies": bool,
    "max_duration_ms": int,
    "max_query_count": int,
    "min_duration_ms": int,
    "min_query_count": int,
    "multi_stream_expected_latency_ns": float,
    "multi_stream_samples_per_query": int,
    "multi_stream_target_latency_percentile": float,
    "offline_expected_qps": float,
    "performance_issue_same": bool,
    "performance_issue_same_index": int,
    "performance_issue_unique": bool,
    "performance_sample_count_override": int,
    "print_timestamps": bool,
    "qsl_rng_seed": int,
    "sample_concatenate_permutation": bool,
    "sample_index_rng_seed": int,
    "schedule_rng_seed": int,
    "server_coalesce_queries": bool,
    "server_find_peak_qps_boundary_step_size": float,
    "server_find_peak_qps_decimals_of_precision": int,
    "server_max_async_queries": int,
    "server_num_issue_query_threads": int,
    "server_target_latency_ns": int,
    "server_target_latency_percentile": float,
    "server_target_qps": float,
    "single_stream_expected_latency_ns": float,
    "single_stream_target_latency_percentile": float,
    "test05": bool,
    "test05_qsl_rng_seed": int,
    "test05_sample_index_rng_seed": int,
    "test05_schedule_rng_seed": int,
    "token_latency_scaling_factor": int,
    "tpot_latency": int,
    "ttft_latency": int,
    "use_token_latencies": bool,
}

LOG_FIELDS: Mapping[str, type] = {
    "copy_detail_to_stdout": bool,
    "copy_summary_to_stdout": bool,
    "enable_trace": bool,
    "log_mode_async_poll_interval_ms": int,
    "prefix": str,
    "prefix_with_datetime": bool,
    "suffix": str,
}

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def parse(fields: Mapping[str, type], name: str, text: str) -> Value:
    """The value of a field from the text of its option. Raises `InputError`."""
    kind = fields[name]
    if kind is bool:
        if text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        raise InputError(f"LoadGen's `{name}` must be 1 or 0, but got `{text}`")
    if kind is str:
        return text
    try:
        value = float(text)
        if kind is float:
            return value
        if value.is_integer():
            return int(text) if text.lstrip("+-").isdecimal() else int(value)
    except (ValueError, OverflowError):
        pass
    wanted = "a whole number" if kind is int else "a number"
    raise InputError(f"LoadGen's `{name}` must be {wanted}, but got `{text}`")
