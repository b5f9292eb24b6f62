"""How many thread blocks a processor of a GPU holds at a time, from what a binary needs."""

from __future__ import annotations

from typing import NamedTuple

KB = 1024


class Limits(NamedTuple):
    """What a processor has: a streaming multiprocessor, a compute unit of CDNA, a work-group processor of RDNA.

    Its warps live on four schedulers, each with a register file of its own.

    Attributes:
        blocks: Resident thread blocks.
        warps: Resident warps of a scheduler.
        registers: Registers of a scheduler for each lane of a warp.
        register_unit: Registers per lane are given out in multiples of this.
        shared: Bytes of shared memory.
        block_shared: Most bytes that one block may have.
        shared_unit: Shared memory is given out in multiples of this.
        reserved: Bytes that the system adds to each block's.
        scalars: Scalar registers of a scheduler, where they can run out.
        tensor_columns: Columns of tensor memory.
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
    """What a thread block takes.

    Attributes:
        warps: Warps of the block.
        registers: Registers of a thread.
        shared: Bytes of shared memory.
        scalars: Scalar registers of a warp.
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
"""Scalar registers that ROCm keeps in each warp for its trap handler."""

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
"""Sources: NVIDIA, CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; units of allocation
as in `cuda_occupancy.h` of the toolkit. AMD: what LLVM computes occupancy from, `AMDGPU/GCNSubtarget.cpp` and
`AMDGPU/Utils/AMDGPUBaseInfo.cpp`."""


def resident_blocks(limits: Limits, needs: Needs) -> int:
    """Blocks that a processor holds; 0 if a block does not fit at all."""
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
