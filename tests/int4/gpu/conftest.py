"""Kernels of this room are interpreted on the CPU: the variable must be set before triton loads."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
