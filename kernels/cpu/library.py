"""The compiled library and how its functions are called."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from torch import Tensor

Argument = Tensor | int | float | None
"""A tensor passes its memory, None a null pointer."""

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
"""Parameters of every function of `src/marcot.cpp`: p a pointer, i an int64, d a double."""


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
        """Call `marcot_<name>`; the result means something only where the function returns one.

        Tensors are contiguous and on the CPU, their dtypes are what the function's signature says.
        """
        values = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
        result: int = self._functions[name](*values)
        return result
