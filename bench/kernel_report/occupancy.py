"""Computes occupancy: how many thread blocks fit on a processor of a GPU at a time."""

from __future__ import annotations

from typing import NamedTuple

KB = 1024


class Limits(NamedTuple):
    """The resources of a processor: a streaming multiprocessor, a CDNA compute unit or an RDNA work-group processor.

    Warps are distributed over four schedulers, each with a separate register file.

    Attributes:
        blocks: Maximum resident thread blocks.
        warps: Maximum resident warps per scheduler.
        registers: Registers per lane that a scheduler has for all its warps.
        register_unit: Registers per lane are allocated in multiples of this.
        shared: Bytes of shared memory.
        block_shared: Maximum bytes of shared memory of one block.
        shared_unit: Shared memory is allocated in multiples of this, in bytes.
        reserved: Bytes of shared memory that the system adds to each block.
        scalars: Scalar registers per scheduler; None if they cannot limit occupancy.
        tensor_columns: Columns of tensor memory; None if there is none.
    """

    blocks: int
    warps: int
    registers: int
    register_unit: int
    shared: int
    block_shared: int
    shared_unit: int
    reserved: int
    scalars: int | None = None
    tensor_columns: int | None = None


class Needs(NamedTuple):
    """The resources that a thread block needs.

    Attributes:
        warps: Warps of the block.
        registers: Registers per thread.
        shared: Bytes of shared memory.
        scalars: Scalar registers per warp.
        tensor_columns: Columns of tensor memory.
    """

    warps: int
    registers: int
    shared: int
    scalars: int = 0
    tensor_columns: int = 0


SCHEDULERS = 4
_SCALAR_UNIT = 16
_TRAP_SCALARS = 16
"""Scalar registers that ROCm reserves in each warp for its trap handler."""

LIMITS = {
    "sm_80": Limits(32, 16, 512, 8, 164 * KB, 163 * KB, 128, KB),
    "sm_86": Limits(16, 12, 512, 8, 100 * KB, 99 * KB, 128, KB),
    "sm_89": Limits(24, 12, 512, 8, 100 * KB, 99 * KB, 128, KB),
    "sm_90": Limits(32, 16, 512, 8, 228 * KB, 227 * KB, 128, KB),
    "sm_100": Limits(32, 16, 512, 8, 228 * KB, 227 * KB, 128, KB, tensor_columns=512),
    "sm_120": Limits(24, 12, 512, 8, 100 * KB, 99 * KB, 128, KB),
    "gfx942": Limits(32, 8, 512, 8, 64 * KB, 64 * KB, 512, 0, scalars=800),
    "gfx1100": Limits(64, 16, 1536, 24, 128 * KB, 64 * KB, KB, 0),
}
"""Limits by architecture. Sources: for NVIDIA, CUDA C++ Programming Guide, "Technical Specifications per Compute
Capability", and `cuda_occupancy.h` of the toolkit for allocation units; for AMD, LLVM's computation of occupancy in
`AMDGPU/GCNSubtarget.cpp` and `AMDGPU/Utils/AMDGPUBaseInfo.cpp`."""


def resident_blocks(limits: Limits, needs: Needs) -> int:
    """Return the number of blocks that fit on a processor at a time; 0 if not even one does."""
    if needs.shared > limits.block_shared:
        return 0
    per_lane = _rounded(max(needs.registers, 1), limits.register_unit)
    warps = min(limits.warps, limits.registers // per_lane)
    if limits.scalars is not None:
        warps = min(warps, limits.scalars // (_rounded(needs.scalars, _SCALAR_UNIT) + _TRAP_SCALARS))
    blocks = min(limits.blocks, warps * SCHEDULERS // needs.warps)
    shared = _rounded(needs.shared + limits.reserved, limits.shared_unit)
    if shared:
        blocks = min(blocks, limits.shared // shared)
    if needs.tensor_columns:
        blocks = min(blocks, (limits.tensor_columns or 0) // needs.tensor_columns)
    return blocks


def _rounded(amount: int, unit: int) -> int:
    return -(-amount // unit) * unit
