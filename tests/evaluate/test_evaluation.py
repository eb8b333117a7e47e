import json

from autosinian.evaluate.evaluation import Evaluation, scenario_metrics
from autosinian.measure.measurement import Measurement

OFFLINE = Measurement("Offline", "PerformanceOnly", True, samples_per_second=100.0)
SERVER = Measurement(
    "Server",
    "PerformanceOnly",
    False,
    invalid_reason="latency bound missed",
    samples_per_second=50.0,
    latency_ns={"50.00": 1e6, "90.00": 2e6, "99.00": 3e6},
)


def test_an_evaluation_survives_json() -> None:
    one = Evaluation(
        {"accuracy": 0.5},
        True,
        (OFFLINE, SERVER),
        {"build": 1.5},
        0.5,
        {"model": "models/x.onnx"},
        {"search": "key"},
    )
    assert Evaluation.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_one_invalid_run_makes_an_evaluation_invalid_and_is_named() -> None:
    assert Evaluation({}, True, (OFFLINE,)).valid
    both = Evaluation({}, True, (OFFLINE, SERVER))
    assert not both.valid
    assert both.invalid_reason == "Server: latency bound missed"


def test_a_scenario_is_ranked_by_its_own_percentile() -> None:
    assert scenario_metrics(OFFLINE) == {"Offline.samples_per_second": 100.0}
    assert scenario_metrics(SERVER)["Server.latency_ms"] == 3.0
    single = Measurement(
        "SingleStream", "PerformanceOnly", True, latency_ns={"90.00": 2e6, "99.00": 3e6}
    )
    assert scenario_metrics(single) == {"SingleStream.latency_ms": 2.0}


def test_the_early_stopping_estimate_goes_before_the_percentile() -> None:
    single = Measurement(
        "SingleStream",
        "PerformanceOnly",
        True,
        latency_ns={"90.00": 2e6},
        early_stopping_latency_ns=2.5e6,
    )
    assert scenario_metrics(single) == {"SingleStream.latency_ms": 2.5}
