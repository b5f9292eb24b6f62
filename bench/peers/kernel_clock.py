"""Measures the time that the engine spends in its C++ kernels."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from marcot.kernels.cpu import Library
from torch import Tensor


class KernelClock:
    """Context manager that adds up the time of all calls of C++ functions.

    Attributes:
        seconds: The sum, in seconds; 0 if the engine does not use the C++ kernels.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._call = call = Library.call

        def timed(library: Library, name: str, *arguments: Tensor | float | None) -> int:
            start = time.perf_counter()
            result = call(library, name, *arguments)
            self.seconds += time.perf_counter() - start
            return result

        Library.call = timed  # type: ignore[method-assign, assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        Library.call = self._call  # type: ignore[method-assign]
