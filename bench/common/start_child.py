"""Starts a program in an interpreter where only `bench` is importable: `python start_child.py bench.common.child`.

The repository's root must not be on the path: its `kernels` would hide the package `kernels` that transformers imports.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).parents[1]
    spec = spec_from_file_location("bench", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["bench"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["bench"])
    import_module(sys.argv[1]).main()
