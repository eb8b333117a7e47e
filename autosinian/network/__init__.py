"""One network in place of a supernet: opened from an ONNX file or a torch module, checked, and
brought to the form of our own exports. May import errors, content, space, data and quantize."""
