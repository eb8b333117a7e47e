"""LoadGen in a worker process without torch; may import engine, errors, content and space."""

from autosinian.measure.measurement import (
    MODES,
    SCENARIOS,
    BuildJob,
    BuildResult,
    Job,
    Measurement,
)

__all__ = ["MODES", "SCENARIOS", "BuildJob", "BuildResult", "Job", "Measurement"]
