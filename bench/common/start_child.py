"""Starts a program in an interpreter where only `bench` is importable: `python start_child.py bench.common.child`.

The repository's root must not be on the path: its `kernels` would hide the package `kernels` that transformers imports.
On Linux, the program is killed when the benchmark ends, however that ends, as it would use the processors until its
command is done.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1
"""An operation of prctl."""

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    folder = Path(__file__).parents[1]
    spec = spec_from_file_location("bench", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["bench"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["bench"])
    import_module(sys.argv[1]).main()
