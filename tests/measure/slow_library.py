"""A library whose import takes long, and says that it runs nowhere near a device."""

import os
import time
from pathlib import Path

if "SLOW_LIBRARY_LOG" in os.environ:
    with Path(os.environ["SLOW_LIBRARY_LOG"]).open("a") as log:
        log.write(f"{os.getpid()}\n")
time.sleep(float(os.environ.get("SLOW_LIBRARY_S", "1")))
