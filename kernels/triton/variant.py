"""A kernel with everything that is fixed when it is compiled.

Each op's file lists every variant that its launcher can launch, so that all can be compiled and examined without a GPU.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton


class Variant(NamedTuple):
    """One binary.

    Attributes:
        name: Op, then what distinguishes it, such as `"tree_attention bf16 d128 m64"`.
        kernel: The `@triton.jit` function.
        signature: Triton's type of each argument that is passed at run time, such as `{"x": "*bf16", "rows": "i32"}`.
        constants: The value of each `tl.constexpr` argument.
        num_warps: Warps of a block.
        num_stages: Depth of the software pipeline.
        aligned: Arguments that are multiples of 16, addresses included: what Triton would find out at a launch.
        registers: Maximum registers per thread on NVIDIA's cards, or None to leave it to the compiler.
    """

    name: str
    kernel: triton.runtime.jit.KernelInterface
    signature: dict[str, str]
    constants: dict[str, object]
    num_warps: int
    num_stages: int
    aligned: tuple[str, ...]
    registers: int | None = None


def pointer_to(dtype: torch.dtype) -> str:
    """The type of a tensor of `dtype` in a signature."""
    return f"*{_NAMES[dtype]}"


_NAMES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.bool: "i1",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.float8_e4m3fn: "fp8e4nv",
    torch.float8_e5m2: "fp8e5",
}
