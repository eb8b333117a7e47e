"""Settings of all tests."""

import os
from pathlib import Path

# Tests that start processes of their own import from `tests` there too, whatever their folder.
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)

# The machine's cores are shared by test, worker and whatever else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# No deadline: how long one example takes says nothing on a busy machine.
settings.register_profile("autosinian", deadline=None, max_examples=60)
settings.load_profile("autosinian")
