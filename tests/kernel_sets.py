"""The kernel sets that the tests of `tests/kernels` run on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from marcot.kernels import Kernels, reference
from marcot.kernels.cpu import load
from marcot.kernels.errors import NoCompilerError
from torch import Tensor


def _cpu() -> Kernels:
    try:
        return load()
    except NoCompilerError as error:
        pytest.skip(str(error))


_SETS: Final[dict[str, Callable[[], Kernels]]] = {"reference": lambda: reference, "cpu": _cpu}

NAMES: Final = tuple(_SETS)


@cache
def kernel_set(name: str) -> Kernels:
    """The set of that name, built if need be; skips the test where this machine cannot have it."""
    return _SETS[name]()


def tokens_of_keys(ops: Kernels, k_pages: Tensor) -> Tensor:
    """K pages by token, `[..., kv_heads, page_size, head_dim]`, as a view of the memory that `ops` reads and writes."""
    if not ops.keys_by_dim:
        return k_pages
    *_, page_size, head_dim = k_pages.shape
    return k_pages.view(*k_pages.shape[:-2], head_dim, page_size).transpose(-1, -2)
