"""Kernels for GPUs and what runs a whole network with them as one CUDA graph.

The only place of this room that imports torch and triton; may import `int4`'s plain data and how
`engine` makes tensors of arrays.
"""
