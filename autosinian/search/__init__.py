"""The Optuna study: warm start, sampling, constraints, resume; may import every room but cli."""
