"""Arithmetic that Triton's interpreter does differently from a GPU, corrected for a test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from triton.runtime import interpreter


def round_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make conversions from fp32 to fp8 round to nearest. The interpreter's lose carries into the exponent."""
    convert = interpreter._convert_float
    kinds = {"fp8e4nv": torch.float8_e4m3fn, "fp8e5": torch.float8_e5m2}

    def rounded(values: Any, source: Any, target: Any, mode: Any) -> Any:
        if target.name not in kinds or source.name != "fp32":
            return convert(values, source, target, mode)
        return torch.from_numpy(np.ascontiguousarray(values)).to(kinds[target.name]).view(torch.uint8).numpy()

    monkeypatch.setattr(interpreter, "_convert_float", rounded)


def multiply_rows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a row of a product the same bits anywhere in its tile, as on tensor cores; BLAS does not promise that."""

    def product(self: Any, a: Any, b: Any, acc: Any, *options: Any) -> Any:
        values = np.einsum("mk,kn->mn", a.data.astype(np.float32), b.data.astype(np.float32))
        return interpreter.TensorHandle(values + acc.data, acc.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", product)
