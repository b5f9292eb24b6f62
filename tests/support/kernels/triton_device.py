"""Decides where the tests run Triton's kernels; must be imported before Triton.

They run on the CPU in Triton's interpreter, or with `MARCOT_TEST_DEVICE=cuda` on a GPU, as `make gpu-check` does.
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
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for torch's deterministic mode, which the tests use
