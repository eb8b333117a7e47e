"""Post-training quantization of a `torch.fx` graph: ranges, encodings and their files, simulated
INT8, explicit Q/DQ. May import errors, content, data, quantize and equalize."""
