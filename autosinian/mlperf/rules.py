"""The rules of MLPerf Inference for image classification, as data.

They follow `tools/submission/submission_checker` of github.com/mlcommons/inference as it was at
commit 001d64ca1a8079d7a1cebee5eeac56f743dc0c57 (round v6.0), and of round v6.1 the seeds in
LoadGen 6.0.17 (commit a468775ea2) and the layout of its published results. Round v6.1 has no table
of its own here: beyond its seeds, v6.0's holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autosinian.errors import InputError

DIVISIONS = ("closed", "open")
SYSTEM_TYPES = ("datacenter", "edge", "datacenter,edge", "edge,datacenter")
AVAILABILITIES = ("available", "preview", "rdi")
BENCHMARKS = ("resnet50", "resnet")
"""Folder names of the benchmark; an open division may map others to it in `model_mapping.json`."""
CHECKED_AS = "resnet"

MODEL_MAPPING = "model_mapping.json"
SAMPLES = 50_000
"""Size of the ImageNet validation set, which an accuracy run covers whole."""
PERFORMANCE_SAMPLES = 1024
OFFLINE_SAMPLES = 24_576
MIN_DURATION_MS = 600_000
ACCURACY_PERCENT = 76.46 * 0.99
SERVER_LATENCY_NS = 15_000_000
AUDITS = ("TEST01", "TEST04")
"""Audits that a closed submission of this benchmark must hold."""

REQUIRED_SCENARIOS: Mapping[str, tuple[str, ...]] = {
    "edge": ("SingleStream", "MultiStream", "Offline"),
    "datacenter,edge": ("SingleStream", "MultiStream", "Offline", "Server"),
}
"""Of a closed submission, by system type; since v5.1 the benchmark is not of the data centre's."""

PERCENTILES: Mapping[str, float] = {"SingleStream": 0.90, "MultiStream": 0.99, "Server": 0.99}

SCORES: Mapping[str, str] = {
    "Offline": "result_samples_per_second",
    "Server": "result_completed_samples_per_sec",
    "SingleStream": "early_stopping_latency_ss",
    "MultiStream": "early_stopping_latency_ms",
}
"""Key of the ranked figure in the detail log: samples/s, or LoadGen's estimate in ns."""

RETAINED_LOG_BYTES = 10 * 1024
"""The largest accuracy log that counts as truncated."""
VIEWABLE_CHARACTERS = 4096

SYSTEM_FIELDS = (
    *("division", "submitter", "status", "system_name", "number_of_nodes"),
    *("host_processor_model_name", "host_processors_per_node", "host_processor_core_count"),
    *("host_memory_capacity", "host_storage_capacity", "host_storage_type"),
    *("accelerators_per_node", "accelerator_model_name", "accelerator_memory_capacity"),
    *("framework", "operating_system", "system_type", "other_software_stack"),
    *("host_processor_frequency", "host_processor_caches", "host_memory_configuration"),
    *("host_processor_interconnect", "host_networking", "host_networking_topology"),
    *("accelerator_frequency", "accelerator_host_interconnect", "accelerator_interconnect"),
    *("accelerator_interconnect_topology", "accelerator_memory_configuration"),
    *("accelerator_on-chip_memories", "cooling", "hw_notes", "sw_notes"),
    *("host_network_card_count", "system_type_detail"),
)
MAY_BE_EMPTY = frozenset(
    (
        *("host_processor_frequency", "host_processor_caches", "host_processor_interconnect"),
        *("accelerator_frequency", "accelerator_interconnect_topology"),
        *("accelerator_on-chip_memories", "hw_notes", "sw_notes", "system_type_detail"),
    )
)
MEASUREMENT_FIELDS = (
    *("input_data_types", "retraining", "starting_weights_filename"),
    *("weight_data_types", "weight_transformations"),
)


@dataclass(frozen=True)
class Round:
    """One round: LoadGen's seeds by field name."""

    name: str
    seeds: Mapping[str, int]


ROUNDS = {
    "v6.1": Round(
        "v6.1",
        {
            "qsl_rng_seed": 2085463073848966840,
            "sample_index_rng_seed": 2747215439041700203,
            "schedule_rng_seed": 16159082839903944936,
        },
    ),
    "v6.0": Round(
        "v6.0",
        {
            "qsl_rng_seed": 2465351861681999779,
            "sample_index_rng_seed": 14276810075590677512,
            "schedule_rng_seed": 3936089224930324775,
        },
    ),
}
CURRENT = "v6.1"

RULES: Mapping[str, str] = {
    "structure": "every file that the round asks for is in its place and not empty",
    "system": "systems/<system>.json has every field, and those that must say something do",
    "measurements": "measurements.json has every field, beside README.md and user.conf",
    "benchmark": "the benchmark is image classification (resnet50), or mapped to it",
    "scenarios": "a closed submission has every scenario of its system type, and no other",
    "model": "a closed submission runs a network equivalent to the reference's",
    "run-kind": "performance/ holds a plain performance run, accuracy/ an accuracy run",
    "validity": "LoadGen calls the run VALID",
    "loadgen-errors": "LoadGen reports no error",
    "seeds": "the run has the round's seeds",
    "duration": "the run asks for at least 600 s",
    "queries": "Offline issues at least 24,576 samples in one query",
    "samples": "at least 1,024 samples are kept loaded",
    "latency": "early stopping is met at the scenario's percentile, and Server's bound is 15 ms",
    "accuracy": "a closed submission reaches 99 % of 76.46 %",
    "dataset": "the accuracy run covers all 50,000 images",
    "hash": "accuracy.txt holds the SHA-256 of the whole accuracy log",
    "truncation": "mlperf_log_accuracy.json is cut to at most 10 KiB",
    "audit": "a closed submission passes TEST01 and TEST04 in every scenario",
    "test-run": "the tree was not made as a test run",
}
"""What each rule asks for, in one line."""


def required_scenarios(system_type: str) -> tuple[str, ...]:
    """What a closed submission must hold; empty where the benchmark is not of that division."""
    return REQUIRED_SCENARIOS.get(",".join(sorted(system_type.split(","))), ())


def find_round(name: str) -> Round:
    """The round of that name. Raises `InputError` for one that is not known."""
    if name not in ROUNDS:
        raise InputError(f"a round must be one of {', '.join(ROUNDS)}, but got `{name}`")
    return ROUNDS[name]
