"""Measuring many subnets of a supernet into one table; may import `autosinian.supernet` and
`autosinian.data`, torch and onnxruntime, nothing else of the package."""
