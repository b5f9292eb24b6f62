"""A kernel set on a GPU, for tests whose tensors are on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from marcot.kernels import Kernels
from torch import Tensor

_CPU = torch.device("cpu")


class DeviceKernels:
    """Every op of `kernels`, with its arguments copied to the device, and results and changed arguments copied back."""

    def __init__(self, kernels: Kernels, device: torch.device) -> None:
        self._kernels = kernels
        self._device = device

    def __getattr__(self, name: str) -> Any:
        """An op or property of the set."""
        found = getattr(self._kernels, name)
        return self._carried(found) if callable(found) else found

    def pack_linear(self, parts: Any, dtype: torch.dtype, device: torch.device, *more: Any, **options: Any) -> Any:
        """Pack for the device, whatever device the test names."""
        return self._kernels.pack_linear(parts, dtype, self._device, *more, **options)

    def rope_store(self, *arguments: Any) -> Any:
        """This op changes its arguments 5 and 6."""
        there = _moved(arguments, self._device)
        result = self._kernels.rope_store(*there)
        for written in (5, 6):
            arguments[written].copy_(there[written])
        return result.to(_CPU)

    def advance(self, state: Any, *arguments: Any) -> None:
        """This op changes its first argument."""
        there = _moved(state, self._device)
        self._kernels.advance(there, *_moved(arguments, self._device))
        for written, part in zip(state, there, strict=True):
            written.copy_(part)

    def _carried(self, op: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            there = {name: _moved(option, self._device) for name, option in options.items()}
            return _moved(op(*_moved(arguments, self._device), **there), _CPU)

        return call


def _moved(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it moved to `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        parts = [_moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
