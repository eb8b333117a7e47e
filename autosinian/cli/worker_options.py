"""`--worker-python` and `--devices`, alike for every command that starts workers."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autosinian.measure.workers import WorkerChoice


def add_worker_options(parser: argparse._ActionsContainer) -> None:
    """Add both options to a command."""
    parser.add_argument(
        "--worker-python",
        metavar="COMMAND",
        help="the interpreter that builds and measures, where the engine's library lives in "
        "another than this one; it needs autosinian, numpy, mlcommons-loadgen and nvidia-ml-py",
    )
    parser.add_argument(
        "--devices",
        metavar="I,J",
        help="GPUs by nvidia-smi's index; several serve Offline and Server together (default: the "
        "first visible one; none for engines on the processor)",
    )


def worker_choice(arguments: argparse.Namespace) -> "WorkerChoice":
    """What was given. Raises `InputError` for what cannot be read or is not there."""
    from autosinian.measure.workers import WorkerChoice

    choice = WorkerChoice.parse(arguments.worker_python, arguments.devices)
    choice.check()
    return choice
