"""Data sets, maps and preprocessing to arrays on disk; may import errors and content."""
