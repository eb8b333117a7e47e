"""A study as a search leaves it, with made-up figures, in a real SQLite file."""

import random
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from autosinian.evaluate.evaluation import Evaluation
from autosinian.measure.measurement import Measurement
from autosinian.search.judge import Judge
from autosinian.search.outcome import CANDIDATE, EVALUATION, REASON, Outcome, read_outcome
from autosinian.search.storage import (
    BASELINE_ATTRIBUTE,
    SEED_ATTRIBUTE,
    VERSIONS_ATTRIBUTE,
    open_storage,
    open_study,
)
from autosinian.space.candidate import Candidate, EngineConfig, Quantization, Subnet
from autosinian.space.document import Document

SPACE = {
    "supernet": "fashion_proxyless",
    "data": {"name": "fashion_mnist"},
    "engine": "openvino",
    "scenarios": ["Offline", "SingleStream"],
    "objectives": ["accuracy", "Offline.samples_per_second"],
    "constraints": ["accuracy >= reference - 0.006", "SingleStream.latency_ms <= 4"],
}
SPEED = "Offline.samples_per_second"
LATENCY = "SingleStream.latency_ms"
PRECISIONS = ("fp32", "bf16", "int8")
HOSTILE = '<script>alert(1)</script> & "quoted" </script><img src=x onerror=alert(2)> `|` **b**'


def candidate(rng: random.Random) -> Candidate:
    """A candidate of a small ProxylessNAS-type supernet."""
    depth = (*(rng.choice((1, 2, 3)) for _ in range(5)), 1)
    blocks = sum(depth)
    precision = rng.choice(PRECISIONS)
    return Candidate(
        Subnet(
            d=depth,
            ks=tuple(rng.choice((3, 3, 5, 7)) for _ in range(blocks)),
            e=tuple(float(rng.choice((3, 4, 6))) for _ in range(blocks)),
            w=(),
            resolution=rng.choice((28, 32, 40)),
        ),
        Quantization(precision, "minmax" if precision == "int8" else "none"),
        EngineConfig.make(
            "openvino", rng.randint(1, 64), streams=rng.choice((1, 2)), threads=2, cpu_pinning=True
        ),
    )


def evaluation(one: Candidate, rng: random.Random) -> Evaluation:
    """Figures that a candidate like this may have."""
    work = sum(one.subnet.e) * one.subnet.resolution**2 / 1e4
    quick = {"fp32": 1.0, "bf16": 1.7, "int8": 2.4}[one.quantization.precision]
    speed = 9000 * quick / work * (1 + 0.3 * min(one.engine.batch_size, 32) / 32)
    accuracy = 0.925 - 0.03 / (1 + work) - (0.002 if one.quantization.precision == "int8" else 0)
    accuracy += rng.uniform(-0.002, 0.002)
    latency = 1.2e3 * one.engine.batch_size**0.4 / speed + 1.0
    metrics = {
        "accuracy": accuracy,
        "macs": work * 1e6,
        "parameters": work * 1e5,
        SPEED: speed,
        LATENCY: latency,
    }
    return Evaluation(
        metrics=metrics,
        complete=True,
        measurements=(
            Measurement("Offline", "PerformanceOnly", valid=True, samples_per_second=speed),
            Measurement(
                "SingleStream",
                "PerformanceOnly",
                valid=True,
                latency_ns={"90.00": latency * 1e6, "99.00": latency * 1.2e6},
                early_stopping_latency_ns=latency * 1e6,
            ),
        ),
        stage_s={
            "extract": rng.uniform(0.2, 0.5),
            "quantize": rng.uniform(0.5, 3.0),
            "build": rng.uniform(0.3, 0.8),
            "accuracy": rng.uniform(0.8, 1.5),
            "performance": rng.uniform(4.0, 4.4),
        },
        overhead_s=rng.uniform(1.0, 4.0),
    )


def make_study(
    folder: Path,
    *,
    name: str = "example",
    trials: int = 24,
    seed: int = 0,
    baseline: bool = True,
    space: dict[str, object] | None = None,
    hostile: bool = False,
    running: Sequence[int] = (),
) -> optuna.Study:
    """Write a study of `trials` trials to `folder/studies/NAME.db`."""
    rng = random.Random(seed)
    document = Document.model_validate(space or SPACE)
    storage = open_storage(f"sqlite:///{folder / 'studies' / name}.db")
    study = open_study(name, storage, optuna.samplers.RandomSampler(seed=seed), document, {"of": 1})
    study.set_user_attr(SEED_ATTRIBUTE, seed)
    study.set_user_attr(
        VERSIONS_ATTRIBUTE,
        {"autosinian": "0.1.0", "openvino": "2026.4", "device": HOSTILE if hostile else "Some CPU"},
    )
    reference: dict[str, float] = {}
    if baseline:
        large = Candidate(
            Subnet((3, 3, 3, 3, 3, 1), (7,) * 16, (6.0,) * 16, (), 40),
            Quantization(),
            EngineConfig.make("openvino", 1, streams=1, threads=2, cpu_pinning=True),
        )
        measured = evaluation(large, rng)
        reference = measured.metrics
        study.set_user_attr(
            BASELINE_ATTRIBUTE, {"candidate": large.to_dict(), "evaluation": measured.to_dict()}
        )
    for number in range(trials):
        add_trial(study, document, reference, rng, hostile=hostile, finish=number not in running)
    return study


def add_trial(
    study: optuna.Study,
    document: Document,
    reference: dict[str, float],
    rng: random.Random,
    *,
    hostile: bool = False,
    finish: bool = True,
) -> optuna.trial.Trial:
    """Ask, measure (made up), tell."""
    trial = study.ask(
        {
            "precision": CategoricalDistribution(PRECISIONS),
            "batch_size": IntDistribution(1, 64),
        }
    )
    one = candidate(rng)
    trial.set_user_attr(CANDIDATE, one.to_dict())
    judge = Judge(document, reference)
    if not finish:
        return trial
    fate = trial.number % 8
    if fate == 5:
        reason = HOSTILE if hostile else f"performance: no result within {300 + trial.number} s"
        trial.set_user_attr(REASON, reason)
        for text, violation in judge.failure().items():
            trial.set_constraint(text, violation)
        study.tell(trial, state=TrialState.PRUNED)
        return trial
    if fate == 7 and trial.number > 8:
        study.tell(trial, state=TrialState.FAIL)
        return trial
    measured = evaluation(one, rng)
    if judge.refuse({"accuracy": measured.metrics["accuracy"]}):
        metrics = {k: v for k, v in measured.metrics.items() if k not in (SPEED, LATENCY)}
        stages = {k: v for k, v in measured.stage_s.items() if k != "performance"}
        measured = Evaluation(metrics, complete=False, stage_s=stages)
    trial.set_user_attr(EVALUATION, measured.to_dict())
    trial.set_user_attr(REASON, judge.reason(measured))
    for text, violation in judge.violations(measured).items():
        trial.set_constraint(text, violation)
    values = judge.values(measured)
    if values is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, values)
    return trial


def make_outcome(folder: Path, **options: object) -> Outcome:
    """`make_study`, read back."""
    return read_outcome(make_study(folder, **options))  # type: ignore[arg-type]
