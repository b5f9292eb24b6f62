"""Counts the kernels and copies of a decode step on torch's meta device, without running any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.jit import JITFunction

META: Final = torch.device("meta")

_NO_KERNELS: Final = {
    *("empty", "empty_like", "empty_strided", "new_empty", "lift_fresh", "detach", "alias", "as_strided"),
    *("view", "flatten", "_unsafe_view", "_reshape_alias", "reshape", "expand", "permute", "t", "transpose", "squeeze"),
    *("unsqueeze", "select", "slice", "split", "split_with_sizes", "unbind"),
}
"""Operations of torch that launch no kernel: they make a view or allocate memory."""


class Counts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts kernels and copies while it is active.

    Attributes:
        kernels: Launches by kernel, of Triton and of torch.
        device_bytes: Bytes that the kernels read and write, added up over all their tensor arguments.
        copied_bytes: Bytes copied between the host and the device.
        copies: Number of these copies.
    """

    def __init__(self, moved: Callable[[str, Tensor], int]) -> None:
        """Start at zero; `moved(kernel, tensor)` returns how many bytes of a tensor argument a kernel moves."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: Counter[str] = Counter()
        self.device_bytes = self.copied_bytes = self.copies = 0
        self._moved = moved

    def launch(self, kernel: JITFunction[Any], *arguments: Any, **_: Any) -> None:  # noqa: ANN401
        """Count a launch of a Triton kernel."""
        self._note(kernel.__name__, arguments)

    def _note(self, name: str, arguments: Any) -> None:  # noqa: ANN401
        self.kernels[name] += 1
        self.device_bytes += sum(self._moved(name, tensor) for tensor in _tensors(arguments))

    def __torch_dispatch__(
        self,
        op: Any,  # noqa: ANN401
        types: object,
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Count an operation of torch. A copy from the device gives zeros, or leaves its target unchanged."""
        options = options or {}
        name = op._schema.name.removeprefix("aten::").rstrip("_")
        given = list(_tensors((arguments, options)))
        if name == "_local_scalar_dense" and given[0].device == META:
            return True  # the decoder asks whether all weights are finite
        if name == "copy" and given[0].device != given[1].device:
            self._copy(given[1])
            return given[0]
        try:
            result = op(*arguments, **options)
        except NotImplementedError:  # a copy from the device
            self._copy(given[0])
            return torch.zeros(given[0].shape, dtype=given[0].dtype)
        results = list(_tensors(result))
        devices = {tensor.device for tensor in results}
        if META in devices and given and META not in {tensor.device for tensor in given}:
            self._copy(given[0])
        elif META in devices and name not in _NO_KERNELS:
            self._note(name, results * 2 if name == "index" else (given, results))  # not the whole matrix
        return result

    def _copy(self, tensor: Tensor) -> None:
        self.copies += 1
        self.copied_bytes += tensor.nbytes


@contextmanager
def counted(moved: Callable[[str, Tensor], int]) -> Iterator[Counts]:
    """Context manager that counts all kernels and copies; Triton kernels do not run."""
    counts = Counts(moved)

    def launching(kernel: JITFunction[Any], grid: object) -> Callable[..., None]:
        return partial(counts.launch, kernel)

    with ExitStack() as patches:
        for kind in (JITFunction, *JITFunction.__subclasses__()):
            patches.enter_context(mock.patch.object(kind, "__getitem__", launching))
        patches.enter_context(counts)
        yield counts


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
