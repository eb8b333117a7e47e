"""SSD-ResNet34 object detection: network, default boxes, loss, suppression, annotated images,
training, mAP. May import errors, content, data and quantize; what workers need imports no torch:
anchors, decoded, layout, precision."""
