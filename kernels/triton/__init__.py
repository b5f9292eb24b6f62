"""The GPU kernels, a file per op: pure `@triton.jit` functions first, what checks and launches them below."""

from .op_set import TritonKernels, load

__all__ = ["TritonKernels", "load"]
