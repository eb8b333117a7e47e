import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.report.example_study import make_study

PROGRAM = """\
import argparse
from autosinian.cli import dashboard
parser = argparse.ArgumentParser()
dashboard.add_parser(parser.add_subparsers())
arguments = parser.parse_args()
raise SystemExit(arguments.run(arguments))
"""


def test_the_printed_address_answers_until_ctrl_c(tmp_path: Path) -> None:
    make_study(tmp_path, trials=1)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "dashboard", "example", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        page, _, number = address.rpartition("/dashboard/studies/")
        with urllib.request.urlopen(f"{page}/api/studies/{number}?after=0", timeout=30) as answer:
            assert json.load(answer)["name"] == "example"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
