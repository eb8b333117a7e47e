"""The state of the machine that figures were measured on."""

import os
import platform
from typing import Any

import psutil

from autosinian.engine.processor import processor_name, usable_cores


def machine_state() -> dict[str, Any]:
    """Processor, cores, memory and system, and what `processor_state` tells."""
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        **processor_state(),
    }


def processor_state() -> dict[str, Any]:
    """Clock (MHz), temperatures (degrees Celsius) and load of this moment: where told.

    The load is the system's average over 1, 5 and 15 minutes, our own work included.
    """
    clock = psutil.cpu_freq()
    # Absent where the system has no sensors.
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    return {
        "clock_mhz": round(clock.current, 1) if clock else None,
        "temperature_celsius": {
            name: max(entry.current for entry in entries)
            for name, entries in sensors.items()
            if entries
        },
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
