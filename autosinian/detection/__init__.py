"""SSD-ResNet34 object detection: network, default boxes, loss, suppression, annotated images,
training, mAP. May import errors and content."""

from autosinian.detection.layout import LAYOUTS, Layout, layout_for
from autosinian.detection.network import Add, BasicBlock, Concat, SsdConfig, SsdResNet34

__all__ = [
    "LAYOUTS",
    "Add",
    "BasicBlock",
    "Concat",
    "Layout",
    "SsdConfig",
    "SsdResNet34",
    "layout_for",
]
