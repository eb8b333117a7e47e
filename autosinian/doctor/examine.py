"""All that is looked at, together."""

from pathlib import Path

from autosinian.doctor.finding import Files, Finding
from autosinian.doctor.gpus import gpu_findings
from autosinian.doctor.memory import memory_findings
from autosinian.doctor.processor import processor_findings
from autosinian.doctor.software import software_findings


def examine(root: Path = Path("/")) -> list[Finding]:
    """Read the machine, whose kernel's files lie below `root`; nothing is changed."""
    files = Files(root)
    return [
        *processor_findings(files),
        *memory_findings(files),
        *gpu_findings(),
        *software_findings(),
    ]
