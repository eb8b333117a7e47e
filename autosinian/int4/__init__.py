"""Networks of 4-bit (and 8-bit) integers: their folder format, exact arithmetic, autoconfig files
and engine. May import numpy, `errors`, `content`; the engine's parts also `engine` and `mlperf`.
"""
