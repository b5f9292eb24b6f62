"""Fast launches that bypass Triton's binder: compiled kernels are cached and reused for similar calls.

`JITFunction.run` inspects every argument, formats a key, and checks hooks and globals, which takes longer than small
kernels run. Here the key is made of the arguments themselves. The kernel that was compiled for a key is launched with
addresses in place of tensors, which saves a query to the driver for each tensor.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-call, misc"
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import triton
from triton.runtime import driver
from triton.runtime.jit import JITFunction

_ALIGNMENT: Final = 16
"""Triton compiles special binaries for addresses and integers that are multiples of this."""


class _Launched(JITFunction[Any]):
    """A kernel that caches its binaries, by everything that Triton's specialisation may depend on.

    Every number that is not a count is part of the key with its value, which distinguishes more cases than Triton does.
    """

    def __init__(self, kernel: Callable[..., object], tensors: int, counts: int) -> None:
        """Expect `tensors` tensors, then `counts` counts, then other numbers and constants. See `launched`."""
        names = kernel.__code__.co_varnames[tensors : tensors + counts]
        super().__init__(kernel, do_not_specialize=names)
        self._tensors, self._counts = tensors, tensors + counts
        self._compiled: dict[object, Any] = {}

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., object]:
        """Return a function that launches `grid` blocks; it takes all arguments by position, constants included."""
        return partial(self._launch, grid)

    def _launch(self, grid: tuple[int, ...], *arguments: Any, **options: int) -> None:  # noqa: ANN401
        """Launch `grid` blocks; `options` are Triton's own, such as `num_warps`."""
        addresses: list[int | None] = []
        kinds: list[object] = []
        union = 0
        for tensor in arguments[: self._tensors]:
            if tensor is None:
                addresses.append(None)
                kinds.append(None)
            else:
                address = tensor.data_ptr()
                union |= address
                addresses.append(address)
                kinds.append(tensor.dtype)
        active = driver.active
        device = active.get_current_device()
        key = (device, *kinds, *arguments[self._counts :], *options.values())
        compiled = self._compiled.get(key)
        if compiled is None or union % _ALIGNMENT:
            self._compile(key, grid, arguments, options)
            return
        run, function, metadata = compiled
        stream = active.get_current_stream(device)
        numbers = arguments[self._tensors :]
        run(*grid, *_ONES[len(grid)], stream, function, metadata, None, None, None, *addresses, *numbers)

    def _compile(self, key: object, grid: tuple[int, ...], arguments: tuple[Any, ...], options: dict[str, int]) -> None:
        """Let Triton compile and launch the kernel; cache the binary if all addresses are aligned."""
        kernel = self.run(*arguments, grid=grid, warmup=False, **options)
        if all(tensor is None or tensor.data_ptr() % _ALIGNMENT == 0 for tensor in arguments[: self._tensors]):
            self._compiled[key] = (kernel.run, kernel.function, kernel.packed_metadata)


_ONES: Final = {1: (1, 1), 2: (1,), 3: ()}
"""The missing dimensions of a grid, by the number of those that are given."""


def launched(tensors: int, counts: int = 0) -> Callable[[Callable[..., object]], Any]:
    """`triton.jit` for kernels that are launched from Python.

    Args:
        tensors: How many of the first arguments are tensors or None.
        counts: How many arguments after these take many values and are not specialised on, so that one binary serves
            all values: integers below 2³¹ such as numbers of rows, and fractions, but no widths. Every other argument
            must have the same type in all launches.
    """

    def decorate(kernel: Callable[..., object]) -> Any:  # noqa: ANN401  (Triton's interpreter has a type of its own)
        return triton.jit(kernel) if triton.knobs.runtime.interpret else _Launched(kernel, tensors, counts)

    return decorate
