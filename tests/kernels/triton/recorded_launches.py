"""Launch a kernel twice, through Triton and through `launched`, on a driver that only records what it gets.

This is a separate program because it compiles kernels, which Triton cannot do in a process that interprets them. It
reads a list of calls from standard input and writes what the driver got, for each call and way, to standard output; see
`main`.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
import triton
import triton.language as tl
from marcot.kernels.triton.launch import launched
from triton.backends.compiler import GPUTarget
from triton.runtime import driver


def copy_rows(y, x, bias, rows, stride, scale, WIDTH: tl.constexpr, DOUBLE: tl.constexpr):  # type: ignore[no-untyped-def]
    """A kernel with an argument of each kind."""
    column = tl.arange(0, WIDTH)
    value = tl.load(x + tl.program_id(0) * stride + column, tl.program_id(0) < rows, 0.0) * scale
    if bias is not None:
        value += tl.load(bias + column)
    if DOUBLE:
        value *= 2
    tl.store(y + tl.program_id(0) * stride + column, value.to(y.dtype.element_ty))


class RecordingDriver:
    """A driver for an H100 that no kernel runs on."""

    def __init__(self) -> None:
        """Nothing has been launched."""
        self.launches: list[dict[str, Any]] = []
        self.device = 0
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": 232_448},
            load_binary=lambda name, binary, shared, device: (1, 10 + device, 32, 0, 1024),
        )

    def get_current_target(self) -> GPUTarget:
        """What kernels are compiled for."""
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """The device of the current call."""
        return self.device

    def get_current_stream(self, device: int) -> int:
        """One stream for each device."""
        return 100 + device

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """Records the kernel of a launch, and what it was compiled for."""
        kernel = {
            "signature": dict(source.signature),
            "constants": {str(place): str(value) for place, value in source.constants.items()},
            "attributes": {str(place): value for place, value in source.attrs.items()},
            "warps": metadata.num_warps,
        }

        def launch(*arguments: Any) -> None:
            grid, (stream, function, _, _, _, _, *rest) = arguments[:3], arguments[3:]
            sent = [str(value.data_ptr() if isinstance(value, torch.Tensor) else value) for value in rest]
            self.launches.append({"kernel": kernel, "grid": grid, "stream": stream, "function": function, "sent": sent})

        return launch


def main() -> None:
    """Make each call from standard input, `{offsets, dtypes, bias, numbers, constants, warps, grid, device}`."""
    recording = RecordingDriver()
    driver.set_active(recording)
    by_triton = triton.jit(do_not_specialize=["rows"])(copy_rows)
    quick = launched(tensors=3, counts=1)(copy_rows)
    memory = torch.zeros(4096, dtype=torch.uint8)
    start = -memory.data_ptr() % 16
    results = []
    for call in json.load(sys.stdin):
        recording.device = call["device"]
        tensors = [
            memory[start + offset :][: 1024].view(getattr(torch, dtype))
            for offset, dtype in zip(call["offsets"], call["dtypes"], strict=True)
        ]  # fmt: skip
        arguments = (*tensors[:2], tensors[2] if call["bias"] else None, *call["numbers"], *call["constants"])
        for kernel in (by_triton, quick):
            kernel[tuple(call["grid"])](*arguments, num_warps=call["warps"])
        results.append(recording.launches[-2:])
    remembered = len(quick._compiled)
    json.dump({"launches": results, "remembered": remembered}, sys.stdout)


if __name__ == "__main__":
    main()
