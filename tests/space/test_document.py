from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.space.document import Document, Range, parse_document, read_document
from tests.space.small_supernet import TEXT

REPOSITORY = Path(__file__).parents[2]
SHIPPED = sorted((REPOSITORY / "search_spaces").glob("*.yaml"))

BASE = """\
supernet: small.pt
data: {name: fashion_mnist}
engine: openvino
objectives: [accuracy, samples_per_second]
"""
NETWORK = """\
network:
  mean: [1, 1, 1]
  std: [2, 2, 2]
  pixel_range: 255
  resize: direct
  source: small.onnx
""" + BASE.partition("\n")[2]


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_document(text, "space.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_space_has_a_supernet_or_a_network() -> None:
    document = parse_document(NETWORK, "space.yaml")
    assert document.supernet is None
    assert document.network is not None
    message = "space.yaml: one of `supernet` and `network` must be given, but"
    assert refused("supernet: small.pt\n" + NETWORK) == f"{message} both is"
    assert refused(BASE.partition("\n")[2]) == f"{message} neither is"
    assert "so remove it" in refused(NETWORK + "architecture: {depth: [2]}\n")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_search_space_is_valid(path: Path) -> None:
    document = read_document(path)
    assert document.metrics
    assert all(rule.text for rule in document.rules)


def test_there_are_shipped_search_spaces() -> None:
    assert {"fashion_mnist", "cifar10"} <= {path.stem for path in SHIPPED}


def test_what_is_left_out_has_defaults() -> None:
    document = parse_document(BASE, "space.yaml")
    assert document.scenarios == ["Offline"]
    assert document.quantization.precision == ["fp32"]
    assert document.serving.batch_size == 1
    assert document.architecture.depth is None


def test_a_document_survives_its_own_dump() -> None:
    document = parse_document(TEXT, "space.yaml")
    copy = Document.model_validate(document.model_dump(mode="json"))
    assert copy.model_dump() == document.model_dump()
    assert copy.where("serving") == ""
    assert document.where("serving", "streams") == "space.yaml:9: "


def test_a_batch_size_may_be_one_value_a_list_or_a_range() -> None:
    def batch(text: str) -> object:
        return parse_document(f"{BASE}serving: {{batch_size: {text}}}\n", "s").serving.batch_size

    assert batch("8") == 8
    assert batch("[1, 3, 50]") == [1, 3, 50]
    assert batch("{low: 2, high: 9}") == Range(low=2, high=9)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (BASE + "engin: openvino\n", 5, "did you mean `engine`?"),
        (BASE + "serving:\n  batch_size: {low: 1, hihg: 3}\n", 6, "did you mean `high`?"),
        (BASE + "quantization:\n  precisions: [int8]\n", 6, "did you mean `precision`?"),
        (BASE + "architecture:\n  kernel: [3]\n", 6, "unknown key"),
        (BASE + "measurement:\n  min_duration: 3\n", 6, "did you mean `min_duration_s`?"),
        (BASE + "serving:\n  batch_size: {low: 9, high: 3}\n", 6, "low=9, high=3"),
        (BASE + "serving:\n  batch_size: {low: 0, high: 3, log: true}\n", 6, "1 or above"),
        (BASE + "serving:\n  batch_size: []\n", 6, "a range must not be empty"),
        (BASE + "serving:\n  batch_size: {low: 1}\n", 6, "must be given"),
        (BASE + "serving:\n  batch_size: {low: one, high: 3}\n", 6, "integer"),
        (BASE + "architecture:\n  depth: []\n", 6, "a range must not be empty"),
        (BASE + "architecture:\n  depth: 3\n", 6, "list"),
        (BASE + "architecture:\n  depth: [2, x]\n", 6, "integer"),
        (BASE + "quantization:\n  precision: [fp64]\n", 6, "'fp32'"),
        (BASE + "quantization:\n  precision: []\n", 6, "a range must not be empty"),
        (BASE + "quantization:\n  calibration: [median]\n", 6, "'minmax'"),
        (BASE + "scenarios: [Ofline]\n", 5, "'Offline'"),
        (BASE + "scenarios: []\n", 5, "a range must not be empty"),
        (BASE + "constraints:\n  - macs <= 1\n  - accuracy >= 93\n", 7, "at most 1"),
        (BASE + "constraints:\n  - accuracy = 0.9\n", 6, "a constraint must look like"),
        (BASE + "constraints: accuracy >= 0.9\n", 5, "list"),
        (BASE + "measurement:\n  time_limit_s: 0\n", 6, "greater than 0"),
        (BASE + "measurement:\n  memory_limit_mib: 1\n", 6, "64"),
        (BASE + "measurement:\n  search_samples: 0\n", 6, "1"),
        (NETWORK.replace("2, 2, 2", "2, 2"), 3, "three numbers must be given"),
        (NETWORK.replace("2, 2, 2", "2, 0, 2"), 1, "above 0"),
        (NETWORK.replace("  std: [2, 2, 2]\n", ""), 1, "given together"),
        (NETWORK.replace("pixel_range: 255", "pixel_range: 256"), 4, "1 or 255"),
        (NETWORK.replace("resize: direct", "resize: other"), 5, "'direct'"),
        (NETWORK.replace("resize", "resise"), 5, "did you mean `resize`?"),
        (BASE + "trials: 0\n", 5, "1"),
        (BASE + "trials: many\n", 5, "integer"),
        (BASE.replace("{name: fashion_mnist}", "{path: x}"), 2, "must be given"),
        (BASE.replace("[accuracy, samples_per_second]", "[accuracy, speed]"), 4, "speed"),
        (BASE.replace("[accuracy, samples_per_second]", "[]"), 4, "must not be empty"),
        (BASE.replace("samples_per_second]", "macs, parameters]"), 4, "2"),
        (BASE.replace("engine: openvino", "engine: [openvino]"), 3, "string"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, told: str) -> None:
    message = refused(text)
    assert message.startswith(f"space.yaml:{line}: ")
    assert told in message


def test_a_missing_key_is_named() -> None:
    assert "`engine`: this key must be given" in refused(BASE.replace("engine: openvino\n", ""))


def test_a_key_given_twice_is_refused() -> None:
    message = refused(BASE + "engine: other\n")
    assert message.startswith("space.yaml:5: ")
    assert "engine" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("supernet: [\n", "not valid YAML"),
        ("a: b: c\n", "space.yaml:1: not valid YAML"),
        ("", "must be a mapping"),
        ("- supernet\n", "must be a mapping"),
        ("supernet: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("\tsupernet: x\n", "not valid YAML"),
        ("supernet: \x01\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_document_is_refused(text: str, told: str) -> None:
    assert told in refused(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a readable YAML file"):
        read_document(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="must be a readable YAML file"):
        read_document(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be a readable YAML file"):
        read_document(binary)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["serving", "batch_size", "low", "high", "engine", "data", "x"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_whatever_a_file_holds_it_is_read_or_refused(value: object) -> None:
    import yaml

    text = BASE + yaml.safe_dump({"serving": value})
    try:
        parse_document(text, "space.yaml")
    except InputError as error:
        assert str(error).startswith("space.yaml:")
