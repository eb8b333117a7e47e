"""A real search whose processes are killed at random moments loses nothing."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_test.py"
KILLS = 10


def test_a_search_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--kills", str(KILLS), "--searches", "1"]
    command += ["--search-share", "0.3", "--keep", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["kills"] == found["searches_killed"] + found["workers_killed"] == KILLS
    assert found["searches_killed"] >= 1
    assert found["finished"] >= 1
    assert found["complaints"] == 0
