"""The best bundle: write, verify; may import every room but search and cli."""
