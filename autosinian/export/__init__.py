"""Re-measurement of the best few, the bundle of the winner, and its verification; may import every
room but cli."""
