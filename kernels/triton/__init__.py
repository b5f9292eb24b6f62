"""GPU kernels in Triton, one file per op: first the `@triton.jit` functions, then the code that launches them."""

from .op_set import TritonKernels, load

__all__ = ["TritonKernels", "load"]
