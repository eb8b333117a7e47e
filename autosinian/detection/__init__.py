"""SSD-ResNet34 object detection: network, default boxes, loss, suppression, annotated images,
training, mAP, quantization. May import errors, content, data, quantize, equalize and encodings;
what workers need imports no torch: anchors, decoded, layout, precision."""
