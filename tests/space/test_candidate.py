import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from autosinian.space.candidate import Candidate, EngineConfig, Quantization, Subnet

subnets = st.builds(
    Subnet,
    d=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    ks=st.tuples(st.sampled_from([0, 3, 5, 7]), st.sampled_from([0, 3, 5, 7])),
    e=st.tuples(st.sampled_from([3, 4, 6]), st.sampled_from([0.2, 0.25, 0.35])),
    w=st.just(()),
    resolution=st.integers(16, 256),
)
options = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda name: name not in ("engine", "batch_size")),
    st.integers() | st.booleans() | st.text(max_size=5),
    max_size=3,
)
candidates = st.builds(
    Candidate,
    subnet=subnets,
    quantization=st.builds(Quantization, st.sampled_from(["fp32", "int8"]), st.just("none")),
    engine=st.builds(
        lambda batch, chosen: EngineConfig.make("small", batch, **chosen),
        st.integers(1, 512),
        options,
    ),
)


@given(candidates)
def test_a_candidate_survives_json(candidate: Candidate) -> None:
    copy = Candidate.from_dict(json.loads(json.dumps(candidate.to_dict())))
    assert copy == candidate
    assert copy.key == candidate.key


def test_the_order_of_options_does_not_matter() -> None:
    assert EngineConfig.make("x", 1, a=1, b=2) == EngineConfig.make("x", 1, b=2, a=1)
    assert EngineConfig.make("x", 1, b=2).option("b") == 2


@given(candidates, st.integers(513, 1000))
def test_another_batch_size_is_another_key(candidate: Candidate, batch_size: int) -> None:
    other = replace(candidate, engine=replace(candidate.engine, batch_size=batch_size))
    assert other.key != candidate.key
