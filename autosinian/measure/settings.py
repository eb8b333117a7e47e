"""A job's settings as LoadGen's own objects: built-in mlperf.conf, files, overrides by name."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autosinian.errors import InputError
from autosinian.measure.measurement import Job
from autosinian.native.loadgen import load

mlperf_loadgen = load()

# What the job itself says; set by its own fields, never by name.
_FIXED = {"scenario", "mode", "log_output", "outdir"}


def built_in_settings(job: Job) -> Any:
    """`TestSettings` as the mlperf.conf inside LoadGen has them for the job's benchmark."""
    settings = mlperf_loadgen.TestSettings()
    # Form 0 reads that file alone. Form 1, the documented one, does so only the first time in a
    # process and says nothing after.
    settings.FromConfig("", job.benchmark, job.scenario, 0)
    return settings


def test_settings(job: Job) -> Any:
    """LoadGen's `TestSettings` for a job. Raises `InputError` for what LoadGen would ignore."""
    settings = built_in_settings(job)
    for name, path in (("mlperf.conf", job.mlperf_conf), ("user.conf", job.user_conf)):
        if path:
            _read(settings, job, name, path)
    settings.scenario = getattr(mlperf_loadgen.TestScenario, job.scenario)
    settings.mode = getattr(mlperf_loadgen.TestMode, job.mode)
    apply(settings, job.settings, "LoadGen test setting")
    if settings.server_num_issue_query_threads:
        raise InputError(
            "server_num_issue_query_threads must be 0, got "
            f"{settings.server_num_issue_query_threads}: more hang a Python SUT for ever"
        )
    return settings


def log_settings(job: Job) -> Any:
    """LoadGen's `LogSettings` for a job: logs in its output folder, which must exist; no trace."""
    output = mlperf_loadgen.LogOutputSettings()
    settings = mlperf_loadgen.LogSettings()
    settings.enable_trace = False
    inner = {name: value for name, value in job.log_settings.items() if hasattr(output, name)}
    outer = {name: value for name, value in job.log_settings.items() if name not in inner}
    also = tuple(_fields(output))
    apply(output, inner, "LoadGen log setting")
    apply(settings, outer, "LoadGen log setting", also)
    output.outdir = str(Path(job.output_folder).resolve())
    settings.log_output = output  # assigned by copy: last
    return settings


def audit_config(job: Job) -> str:
    """The audit.config that LoadGen shall read: the job's, or a name where there is none.

    LoadGen reads `audit.config` from the current folder unless told another name.
    """
    if not job.audit_conf:
        return str(Path(job.output_folder).resolve() / "no_audit.config")
    if not Path(job.audit_conf).is_file():
        raise InputError(f"audit.config {job.audit_conf} must be a file, but there is none")
    return job.audit_conf


def apply(target: Any, values: Mapping[str, Any], kind: str, also: tuple[str, ...] = ()) -> None:
    """Set fields by name; `InputError` for an unknown name or a value of another type."""
    known = _fields(target)
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *also], n=3)
            hint = f"; close names: {', '.join(near)}" if near else f"; names: {', '.join(known)}"
            raise InputError(f"{kind} must be one that LoadGen has, got {name!r}{hint}")
        try:
            setattr(target, name, value)
        except TypeError as error:
            wanted = type(getattr(target, name)).__name__
            raise InputError(f"{kind} {name} must be of type {wanted}, got {value!r}") from error


def _fields(target: Any) -> list[str]:
    return [
        name
        for name in dir(target)
        if not name.startswith("_") and name not in _FIXED and name != "FromConfig"
    ]


def _read(settings: Any, job: Job, name: str, path: str) -> None:
    if not Path(path).is_file():
        raise InputError(f"{name} {path} must be a file, but there is none")
    code = settings.FromConfig(path, job.benchmark, job.scenario, 2)
    if code != 0:
        raise InputError(
            f"{name} {path} must hold lines `model.scenario.key = number`, but LoadGen refuses it "
            f"(code {code})"
        )
