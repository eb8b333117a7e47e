"""A detector's ONNX computes what the network does, for any batch, with softmax and no more."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from autosinian.detection.checkpoint import Detector
from autosinian.detection.export import described, export_detector
from autosinian.detection.joined import join_outputs
from autosinian.detection.opened import open_detector
from autosinian.errors import InputError


@pytest.fixture(scope="module")
def exported(narrow: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "detector.onnx"
    export_detector(narrow, path)
    return path


ROUNDING = 5e-4
"""Of the largest value. Scores of an untrained network are steep: in float32 PyTorch's own are
1e-4 from the exact ones, which processors round differently."""


def _expected(narrow: Detector, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network gives in float64, as float32."""
    with torch.no_grad():
        boxes, scores = copy.deepcopy(narrow.network).double()(images.double())
    return boxes.float(), scores.float()


def test_outputs_are_the_networks_for_any_batch(narrow: Detector, exported: Path) -> None:
    opened = open_detector(exported, "cpu")
    assert (opened.classes, opened.class_names) == (3, narrow.class_names)
    images = torch.randn(2, 3, 300, 300, generator=torch.Generator().manual_seed(1))
    for batch in (images, images[:1]):
        for found, expected in zip(opened.forward(batch), _expected(narrow, batch), strict=True):
            assert torch.allclose(found, expected, atol=ROUNDING * float(expected.abs().max()))


def test_the_file_has_softmax_and_no_suppression(exported: Path) -> None:
    model = onnx.load(exported)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Softmax") == 1
    assert kinds.count("Conv") == 51
    assert not {"NonMaxSuppression", "BatchNormalization", "TopK", "Shape"} & set(kinds)
    assert model.opset_import[0].version == 17


def test_joined_outputs_are_one_row_an_image(
    narrow: Detector, exported: Path, tmp_path: Path
) -> None:
    joined = join_outputs(onnx.load(exported))
    session = onnxruntime.InferenceSession(joined.SerializeToString())
    images = torch.randn(2, 3, 300, 300, generator=torch.Generator().manual_seed(2))
    (rows,) = session.run(["logits"], {"images": images.numpy()})
    expected = torch.cat(_expected(narrow, images), 1).flatten(1).numpy()
    assert np.allclose(rows, expected, atol=ROUNDING * float(np.abs(expected).max()))
    with pytest.raises(InputError, match="outputs must be boxes, scores"):
        join_outputs(joined)


def test_a_file_that_does_not_describe_its_detector_is_refused(
    exported: Path, tmp_path: Path
) -> None:
    model = onnx.load(exported)
    del model.metadata_props[:]
    with pytest.raises(InputError, match="as `autosinian ssd export` writes it"):
        described(model, "x.onnx")
    other = tmp_path / "text.onnx"
    other.write_text("no model")
    with pytest.raises(InputError, match="must be an ONNX file"):
        open_detector(other, "cpu")
