"""The stages of one trial, cheapest first, each cached by content key; may import every room but
search and cli."""
