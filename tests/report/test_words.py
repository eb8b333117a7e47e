from dataclasses import replace

import pytest

from autosinian.report.words import (
    candidate_words,
    describe_outcome,
    figure_words,
    short_words,
    subnet_words,
)
from autosinian.search.outcome import Outcome
from autosinian.space.candidate import Candidate, EngineConfig, Quantization, Subnet

SUBNET = Subnet(
    d=(2, 3, 1), ks=(3, 3, 0, 3, 3, 5, 7, 0), e=(3.0, 4.0, 0.0, 3, 4, 3, 3, 0), w=(), resolution=40
)
CANDIDATE = Candidate(
    SUBNET,
    Quantization("int8", "minmax"),
    EngineConfig.make("openvino", 24, cpu_pinning=True, partial_batch="pad", streams=2, threads=1),
)


def test_a_candidate_reads_from_network_to_serving() -> None:
    assert candidate_words(CANDIDATE) == (
        "depth 2-3-1, mostly 3x3, expansion 3.3 mean, 40 px, int8 minmax, batch 24, 2 streams, "
        "1 thread, cpu pinning, partial batch pad"
    )


def test_short_words_leave_out_what_a_line_has_no_room_for() -> None:
    assert short_words(CANDIDATE) == "depth 2-3-1, 40 px, int8 minmax, batch 24, 2 streams"


@pytest.mark.parametrize(
    ("kernels", "words"),
    [((5, 5, 0), "all 5x5"), ((3, 5, 7), "kernel 5.0 mean"), ((3, 3, 7, 3), "mostly 3x3")],
)
def test_kernel_sizes_are_summed_up(kernels: tuple[int, ...], words: str) -> None:
    assert words in subnet_words(replace(SUBNET, ks=kernels))


def test_a_resnet_has_widths_and_fractional_expansions_but_no_kernels() -> None:
    resnet = Subnet((0, 1, 2), (), (0.2, 0.25, 0.35), (0, 2, 1), 224)
    assert subnet_words(resnet) == "depth 0-1-2, expansion 0.27 mean, width 0-2-1, 224 px"


def test_a_setting_that_is_off_says_so() -> None:
    engine = EngineConfig.make("openvino", 1, cpu_pinning=False)
    assert "no cpu pinning" in candidate_words(replace(CANDIDATE, engine=engine))


def test_figures_stand_beside_the_baseline() -> None:
    assert figure_words("accuracy", 0.912, 0.9162) == "accuracy 91.20 % (-0.42 points)"
    assert figure_words("Offline.samples_per_second", 5210, 1000) == "5,210 samples/s (5.21x)"
    assert figure_words("Server.latency_ms", 1.5, 3.0) == "Server latency 1.50 ms (0.500x)"


def test_an_outcome_names_baseline_best_and_counts(outcome: Outcome) -> None:
    words = describe_outcome(outcome)
    assert outcome.best is not None
    assert words.startswith("24 trials of study example: 12 feasible, 10 infeasible, 2 interrupted")
    assert "baseline: accuracy " in words
    assert f"trial {outcome.best.number}: depth " in words


def test_an_outcome_without_a_best_says_what_to_do(empty: Outcome) -> None:
    assert "loosen a constraint" in describe_outcome(empty)
