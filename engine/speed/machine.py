"""Describes the model, hardware and software that an engine runs on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..engine import Engine

_CPUINFO = Path("/proc/cpuinfo")


def describe(engine: Engine, device: torch.device) -> dict[str, str | int | float]:
    """Return the model, compute mode, hardware and versions by name; tables and JSON use the same names.

    Args:
        engine: Loaded by `Engine.load`.
        device: The device that it runs on.
    """
    return {
        **{name: value for name, value in engine.settings.items() if name != "checkpoint"},
        "architecture": engine.config.architecture,
        "layers": engine.config.num_layers,
        "compute": engine.compute,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        **{name: _version(name) for name in ("marcot", "torch")},
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's model name, or its architecture if the system does not report one."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
