"""Loads the compiled library and calls its functions."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from torch import Tensor

Argument = Tensor | int | float | None
"""A tensor is passed as the address of its data, None as a null pointer."""

_TYPES: Final = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}

_WEIGHT: Final = "ppii"

_CANDIDATES: Final = "ii" + "pppppp" + "ppppppp"

_SIGNATURES: Final = {
    "packed_bytes": "iii",
    "pack": "ipiiipi",
    "embed": _WEIGHT + "pipi",
    "linear": _WEIGHT + "pipi",
    "rms_norm": "pppdiippi",
    "rope_store": "ppppdpppiiiiiipppi",
    "tree_attention": "pppppipiiiiiiidpi",
    "silu_mul": "piipi",
    "lm_head_topk": _WEIGHT + "piipppp" + "ppppppp" + "i",
    "sample": _CANDIDATES + "pppi",
    "advance": _CANDIDATES + "ii" + "ppppppp" + "ppp" + "ppppp" + "i",
    "run_layers": "piiiiiiiiidd" + "pppppi" + "ppipi" + "pppi",
    "width": "",
}
"""Parameter types of every function in `src/marcot.cpp`: p is a pointer, i an int64, d a double."""


class Library:
    """A loaded kernel library."""

    def __init__(self, path: Path) -> None:
        """Load the shared library at `path`."""
        library = ctypes.CDLL(str(path))
        self._functions = {}
        for name, signature in _SIGNATURES.items():
            function = getattr(library, "marcot_" + name)
            function.argtypes = [_TYPES[kind] for kind in signature]
            function.restype = ctypes.c_int64
            self._functions[name] = function

    def call(self, name: str, *arguments: Argument) -> int:
        """Call `marcot_<name>` and return its result, which is meaningless for functions that return void.

        Tensors must be contiguous, on the CPU, and of the dtypes in the signature of the function.
        """
        values = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
        result: int = self._functions[name](*values)
        return result
