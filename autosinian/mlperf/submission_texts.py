"""The texts of a submission: read by people, written from what a bundle and its logs say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autosinian.export import bundle as files
from autosinian.export.user_conf import user_conf
from autosinian.mlperf.rules import Round
from autosinian.mlperf.submission_logs import RunLog

_SETTINGS = (
    *("offline_expected_qps", "server_target_qps", "server_target_latency_ns"),
    *("single_stream_expected_latency_ns", "multi_stream_expected_latency_ns"),
    *("min_duration_ms", "min_query_count"),
)


def measurements(result: Mapping[str, Any]) -> dict[str, str]:
    """`measurements.json` of a bundle's `result.json`."""
    origin = result.get("supernet") or result["network"]
    precision = result["candidate"]["quantization"]["precision"]
    calibration = result["candidate"]["quantization"].get("calibration")
    changes = ["batch norm folded into convolutions"]
    if precision == "int8":
        changes.append(f"post-training quantization to int8, {calibration} calibration")
    elif precision != "fp32":
        changes.append(f"conversion to {precision}")
    if "supernet" in result:
        changes.insert(0, "a subnet was extracted and its batch-norm statistics estimated again")
    return {
        "input_data_types": "fp32",
        "retraining": _retraining(result),
        "starting_weights_filename": f"{origin['name']} (SHA-256 {origin['sha256']})",
        "weight_data_types": precision,
        "weight_transformations": "; ".join(changes),
    }


def readme(
    scenario: str,
    result: Mapping[str, Any],
    round_: Round,
    run: RunLog,
    *,
    bundle: str,
    seconds: float | None,
) -> str:
    """`README.md` beside the results: how to get them again.

    `bundle` is the bundle's folder in the submission, as `src/<benchmark>/<name>`.
    """
    benchmark = Path(bundle).parent.name
    engine = result["candidate"]["engine"]
    options = ", ".join(f"{k}={v}" for k, v in sorted(engine["options"].items())) or "none"
    length = "" if seconds is None else f" --duration {seconds:g}"
    data = result["data"]
    return f"""\
# {benchmark}, {scenario}

Network: {_network(result)}, {data["preprocessing"]["resolution"]} px, \
{result["candidate"]["quantization"]["precision"]}.
Engine: {engine["engine"]} ({_versions(result)}), batch size {engine["batch_size"]}, \
options {options}.
Samples: the {data["samples"]:,} validation samples of `{data["name"]}`, preprocessed before the run
(inputs SHA-256 {data["inputs_sha256"]}).
LoadGen: {run.values.get("loadgen_version", "unknown version")}, settings in `user.conf`, seeds of
round {round_.name}.

The network and its engine settings are in `{bundle}`, a bundle of autosinian. To measure it again:

```
pip install src/{benchmark}/autosinian
autosinian verify {bundle}
autosinian audit {bundle} --scenario {scenario} --round {round_.name}{length}
```

The last command makes the performance run, the accuracy run and the compliance runs. Where the
processor or the engine's version is another one it builds the engine again from `model.onnx`.
"""


def calibration(results: Sequence[Mapping[str, Any]]) -> str:
    """`documentation/calibration.md` for all bundles of a submission."""
    parts = [
        "# Calibration and quantization\n\nWritten from the records of each bundle in `src/`.\n"
    ]
    for result in results:
        quantization = result["candidate"]["quantization"]
        name = f"## {result['study']}, trial {result['trial']}\n\n"
        if quantization["precision"] != "int8":
            parts.append(
                f"{name}No calibration: weights and activations are "
                f"{quantization['precision']}, without ranges.\n"
            )
            continue
        parts.append(
            f"{name}Post-training quantization. The ranges of activations were collected in fp32 "
            f"on the calibration images of `{result['data']['name']}` (a set apart from the "
            f"validation images) with the `{quantization['calibration']}` method, one symmetric "
            f"range a tensor; `{files.CALIBRATOR_CACHE}` holds their scales. Weights have one "
            f"symmetric range an output channel. Both stand in `{files.MODEL}` as explicit "
            "QuantizeLinear and DequantizeLinear nodes. Validation images were not used.\n"
        )
    return "\n".join(parts)


def scenario_conf(run: RunLog) -> str:
    """`user.conf`: what the run was told that is not LoadGen's own mlperf.conf."""
    prefix = {"Offline": "offline", "Server": "server", "SingleStream": "single_stream"}.get(
        run.scenario, "multi_stream"
    )
    settings = {
        name: run.values[f"requested_{name}"]
        for name in _SETTINGS
        if f"requested_{name}" in run.values and name.startswith((prefix, "min_"))
    }
    return user_conf({run.scenario: settings})


def source_readme(benchmark: str, names: Sequence[str]) -> str:
    """`src/<benchmark>/README.md`."""
    return f"""\
# {benchmark}

- `autosinian/`: the program that served the network to LoadGen, as it was used. Its interface to
  LoadGen is `autosinian/autosinian/measure/loadgen_run.py` and `sut.py` beside it.
- {", ".join(f"`{name}/`" for name in names)}: the network and its engine settings, a bundle each
  (`net.config` and `init`, or `network.onnx`; `model.onnx`; `calibrator.cache`; `config.json`).

`pip install ./autosinian` installs the program; the README of each result names the commands.
"""


def test_run_mark(problems: Sequence[str]) -> str:
    """The file that marks a tree as not to be submitted."""
    lines = "\n".join(f"- {line}" for line in problems) or "- none but this mark"
    return f"# A test run, not to be submitted\n\nRules that this tree does not keep:\n\n{lines}\n"


def _retraining(result: Mapping[str, Any]) -> str:
    if "supernet" in result:
        return "Yes (another network: a subnet of a Once-for-All supernet, with its own weights)"
    return "No"


def _network(result: Mapping[str, Any]) -> str:
    if "supernet" in result:
        return f"a subnet of `{result['supernet']['name']}`"
    return f"`{result['network']['name']}`"


def _versions(result: Mapping[str, Any]) -> str:
    known = result["engine_versions"]
    return ", ".join(f"{name} {known[name]}" for name in known if not name.startswith("processor"))
