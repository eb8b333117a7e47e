"""Searches compared on problems whose answer is known; may import `subnet_table`, optuna, numpy and
`autosinian.search`'s sampler."""
