"""Decides where Triton's kernels run in the tests. To be imported before Triton is.

That is Triton's interpreter on the CPU, or with `MARCOT_TEST_DEVICE=cuda` a GPU, which `make gpu-check` asks for.
"""

from __future__ import annotations

import os
from typing import Final

DEVICE: Final = os.environ.get("MARCOT_TEST_DEVICE", "cpu")
"""Torch's name of the device."""

if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"
else:
    os.environ.pop("TRITON_INTERPRET", None)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch's deterministic mode, which the tests use
