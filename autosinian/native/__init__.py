"""LoadGen compiled together with systems under test in C++, optional; may import errors only."""
