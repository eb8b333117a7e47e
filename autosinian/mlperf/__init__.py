"""The MLPerf way from a bundle: calibrate, build, run, audit, package. May import every room but
search and cli."""
