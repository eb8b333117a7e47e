"""From a torch module to one ONNX file, fp32 or explicit Q/DQ INT8; may import errors, content and
data."""
