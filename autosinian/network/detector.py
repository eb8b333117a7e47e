"""A detector as a fixed network: one output, a row of offsets and scores for each image."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import Tensor, nn

from autosinian.detection.checkpoint import Detector, load_detector
from autosinian.detection.inputs import DEVIATION, MEAN
from autosinian.detection.network import Concat, SsdConfig
from autosinian.errors import InputError, TrialFailure
from autosinian.network.fixed import FixedInput, FixedNetwork
from autosinian.network.prepare import prepare
from autosinian.quantize.export import export_onnx
from autosinian.space.document import NetworkSpec


class DetectorRow(nn.Module):
    """A detector with its two outputs joined: `N x (4 + classes) * boxes`.

    Engines take networks of one output; `autosinian.detection.decoded.Decoder` reads the rows.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.concat = Concat(1)

    def forward(self, images: Tensor) -> Tensor:
        """One row an image."""
        offsets, scores = self.network(images)
        joined: Tensor = self.concat((offsets, scores))
        return joined.flatten(1)


@dataclass(frozen=True)
class DetectorNetwork(FixedNetwork):
    """A detector of `autosinian ssd train`, or the published checkpoint."""

    detector: Detector

    @property
    def config(self) -> SsdConfig:
        """Width, classes and image size."""
        return self.detector.network.config

    @property
    def classes(self) -> int:
        """How many classes it tells apart, with the background."""
        return self.config.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the objects' classes, from class 1 on; none in a published checkpoint."""
        return self.detector.class_names

    @property
    def task(self) -> dict[str, int | str]:
        """Detection, and what decoding a row needs."""
        return {
            "name": "detection",
            "image_size": self.config.image_size,
            "classes": self.config.classes,
        }


def open_detector_network(spec: NetworkSpec) -> DetectorNetwork:
    """The detector in the file `spec.source`, exported with one output.

    Raises `InputError` where it is none, and for settings that a detector does not have.
    """
    detector = load_detector(Path(spec.source), image_size=spec.resolution)
    size = detector.network.config.image_size
    if spec != NetworkSpec(source=spec.source, resolution=spec.resolution):
        raise InputError(
            f"`mean`, `std`, `pixel_range`, `resize` and `interpolation` must be left out for "
            f"detector `{spec.source}`: its images are stretched and normalized as in training"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        try:
            export_onnx(DetectorRow(detector.network), size, path)
        except TrialFailure as failure:
            raise InputError(
                f"detector `{spec.source}` must be exportable to ONNX, but {failure.reason}"
            ) from failure
        source = path.read_bytes()
    return DetectorNetwork(
        name=Path(spec.source).name,
        source=source,
        prepared=prepare(onnx.load_model_from_string(source), size, f"`{spec.source}`"),
        preprocessing=FixedInput(MEAN, DEVIATION, "direct", "bilinear"),
        detector=detector,
    )
