"""Makes the adapter importable as `vllm`."""

from __future__ import annotations

import sys
from importlib import import_module

from ...errors import InputError

_MODULES = ("", ".inputs", ".outputs", ".sampling_params")
"""Modules of this package that also exist in vLLM, under the same names."""


def register() -> None:
    """Let `import vllm` find this package in this process.

    Raises:
        InputError: The real vLLM has been imported already.
    """
    for name in _MODULES:
        ours = import_module(f"{__package__}{name}")
        if sys.modules.setdefault(f"vllm{name}", ours) is not ours:
            raise InputError("vllm has been imported already: call register() before the first import of vllm")
