"""LoadGen in a worker process without torch; may import engine, errors and content."""
