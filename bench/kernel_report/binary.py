"""Reads the resources and instructions of a compiled kernel from its binary."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import triton
from triton.compiler import CompiledKernel

from .code_object import kernel_metadata

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class Loads(NamedTuple):
    """Instructions that read global memory.

    Attributes:
        wide: Number that read at least 16 bytes per thread.
        all: Total number.
    """

    wide: int
    all: int


class Instructions(NamedTuple):
    """Numbers of instructions in the code of a kernel; those in a loop count once.

    Attributes:
        tensor: Tensor-core instructions, by name: `{"HMMA": 64}`.
        loads: Loads from global memory into registers.
        copies: Asynchronous copies from global to shared memory.
        stored: Bytes per thread that are stored to local memory, where registers spill to.
        loaded: Bytes per thread that are loaded from local memory.
    """

    tensor: dict[str, int]
    loads: Loads
    copies: Loads
    stored: int
    loaded: int


class Binary(NamedTuple):
    """A kernel compiled for one GPU architecture.

    Attributes:
        registers: Registers per thread, accumulators included.
        scalars: Scalar registers per warp (AMD).
        spilled: Vector registers that the compiler reports as spilled (AMD).
        parked: Scalar registers that the compiler keeps in lanes of vector registers, not in memory (AMD).
        stack: Bytes of local memory per thread.
        shared: Bytes of shared memory per block, including those requested at launch.
        threads: Threads per block.
        tensor_columns: Columns of tensor memory per block.
        instructions: Counts of instructions; None if the disassembler does not support the target.
        multiplies: Whether the source multiplies matrices of fewer than 32 bits per value.
    """

    registers: int
    scalars: int
    spilled: int
    parked: int
    stack: int
    shared: int
    threads: int
    tensor_columns: int
    instructions: Instructions | None
    multiplies: bool


def read_binary(compiled: CompiledKernel) -> Binary:
    """Inspect the binary of a kernel returned by `triton.compile`."""
    multiplies = any(_is_narrow_product(line) for line in compiled.asm["ttir"].splitlines())
    if "cubin" in compiled.asm:
        return _read_cubin(compiled)._replace(multiplies=multiplies)
    return _read_code_object(compiled)._replace(multiplies=multiplies)


_PRODUCT = re.compile(r"tt\.dot\b.*: tensor<[\dx]*x(\w+)> \* tensor<")


def _is_narrow_product(line: str) -> bool:
    found = _PRODUCT.search(line)
    return found is not None and found.group(1) not in ("f32", "f64")


def _read_cubin(compiled: CompiledKernel) -> Binary:
    metadata = compiled.metadata
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = resource_usage(_said_by("cuobjdump", "-res-usage", file.name) or "", metadata.name)
        sass = _said_by("nvdisasm", "-c", file.name)
    return Binary(
        registers=usage["REG"],
        scalars=0,
        spilled=0,
        parked=0,
        stack=usage["STACK"] + usage["LOCAL"],
        shared=own_shared(usage["SHARED"], metadata.target.arch) + metadata.shared,
        threads=metadata.num_warps * 32,
        tensor_columns=getattr(metadata, "tmem_size", 0) or 0,
        instructions=None if sass is None else sass_instructions(sass),
        multiplies=False,
    )


def own_shared(shared: int, arch: int) -> int:
    """Return the bytes of shared memory without the 1 KB that the system reserves; from sm_90 on, cubins include it."""
    return max(0, shared - 1024) if arch >= 90 else shared


def _said_by(tool: str, *arguments: str) -> str | None:
    """Return the output of a tool that ships with Triton; None if the tool fails on the binary."""
    ended = subprocess.run([_TOOLS / tool, *arguments], capture_output=True, text=True, check=False)
    return ended.stdout if ended.returncode == 0 and ended.stdout else None


_FUNCTION = re.compile(r"Function (\S+):\s+((?:[A-Z]+(?:\[\d+\])?:\d+ ?)+)")


def resource_usage(text: str, kernel: str) -> dict[str, int]:
    """Return the resources of `kernel` from the output of `cuobjdump -res-usage`: `REG`, `STACK`, `SHARED`, `LOCAL` ...

    Raises:
        ValueError: `text` has no line about `kernel`.
    """
    for name, usage in _FUNCTION.findall(text):
        if name == kernel:
            return {key: int(count) for key, count in (part.split(":") for part in usage.split())}
    raise ValueError(f"cuobjdump does not know the resources of {kernel}: {text[:200]!r}")


_SASS = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")
_SASS_TENSOR = re.compile(r"(UTC)?[HIQO]G?MMA")
_SASS_BULK = ("UBLKCP", "UTMALDG")
_SASS_BYTES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16, "256": 32}


def sass_instructions(sass: str) -> Instructions:
    """Count the instructions in the output of nvdisasm."""
    return _counted(_sass_events(found.group(1)) for found in _SASS.finditer(sass))


class _Event(NamedTuple):
    """The category of an instruction, `"tensor"`, `"load"`, `"copy"`, `"store own"` or `"load own"`, and its bytes."""

    kind: str
    name: str
    bytes: int


def _sass_events(mnemonic: str) -> _Event | None:
    base, *modifiers = mnemonic.split(".")
    width = next((_SASS_BYTES[part] for part in modifiers if part in _SASS_BYTES), 4)
    if _SASS_TENSOR.fullmatch(base):
        return _Event("tensor", base, 0)
    if base in _SASS_BULK:
        return _Event("copy", base, 16)
    kinds = {"LDG": "load", "LDGSTS": "copy", "STL": "store own", "LDL": "load own"}
    return _Event(kinds[base], base, width) if base in kinds else None


def _read_code_object(compiled: CompiledKernel) -> Binary:
    kernel = kernel_metadata(compiled.asm["hsaco"])
    warp = kernel[".wavefront_size"]
    return Binary(
        registers=kernel[".vgpr_count"],
        scalars=kernel[".sgpr_count"],
        spilled=kernel[".vgpr_spill_count"],
        parked=kernel[".sgpr_spill_count"],
        stack=kernel[".private_segment_fixed_size"],
        shared=kernel[".group_segment_fixed_size"] + compiled.metadata.shared,
        threads=compiled.metadata.num_warps * warp,
        tensor_columns=0,
        instructions=gcn_instructions(compiled.asm["amdgcn"]),
        multiplies=False,
    )


_GCN = re.compile(r"^\s+([a-z]\w+)(.*)$", re.MULTILINE)
_GCN_TENSOR = re.compile(r"v_(mfma|smfmac|wmma|swmmac)_")
_GCN_MEMORY = re.compile(r"(global|buffer|flat|scratch)_(load|store)_(lds_)?(?:d16_)?(?:hi_)?(\w+?)(?:_d16)?(?:_hi)?")
_GCN_BYTES = {
    "dwordx4": 16, "b128": 16, "dwordx3": 12, "b96": 12, "dwordx2": 8, "b64": 8, "dword": 4, "b32": 4,
    "ushort": 2, "sshort": 2, "short": 2, "u16": 2, "i16": 2, "b16": 2,
    "ubyte": 1, "sbyte": 1, "byte": 1, "u8": 1, "i8": 1, "b8": 1,
}  # fmt: skip


def gcn_instructions(assembly: str) -> Instructions:
    """Count the instructions in the assembly code of a code object."""
    return _counted(_gcn_event(*found.groups()) for found in _GCN.finditer(assembly))


def _gcn_event(mnemonic: str, operands: str) -> _Event | None:
    tensor = _GCN_TENSOR.match(mnemonic)
    if tensor:
        return _Event("tensor", tensor.group(1).upper(), 0)
    memory = _GCN_MEMORY.fullmatch(mnemonic)
    if not memory:
        return None
    space, way, to_shared, width = memory.groups()
    if space == "scratch":
        return _Event(f"{way} own", mnemonic, _GCN_BYTES[width])
    if way == "store":
        return None
    to_shared = to_shared or re.search(r"\blds\b", operands)
    return _Event("copy" if to_shared else "load", mnemonic, _GCN_BYTES[width])


def _counted(events: Iterator[_Event | None]) -> Instructions:
    seen = [event for event in events if event is not None]

    def loads(kind: str) -> Loads:
        widths = [event.bytes for event in seen if event.kind == kind]
        return Loads(sum(width >= 16 for width in widths), len(widths))

    def own(kind: str) -> int:
        return sum(event.bytes for event in seen if event.kind == kind)

    tensor = Counter(event.name for event in seen if event.kind == "tensor")
    return Instructions(dict(sorted(tensor.items())), loads("load"), loads("copy"), own("store own"), own("load own"))
