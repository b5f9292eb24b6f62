"""What a compiled kernel is, read from its binary."""

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
        wide: Those that read 16 bytes and more per thread.
        all: All of them.
    """

    wide: int
    all: int


class Instructions(NamedTuple):
    """How often the kernel's code has an instruction, loops counted once.

    Attributes:
        tensor: Those of tensor cores, by name: `{"HMMA": 64}`.
        loads: Loads into registers.
        copies: Copies to shared memory that threads need not wait for.
        stored: Bytes that a thread writes to its own memory, the stack: what spills is stored there.
        loaded: Bytes that it reads from there.
    """

    tensor: dict[str, int]
    loads: Loads
    copies: Loads
    stored: int
    loaded: int


class Binary(NamedTuple):
    """A kernel that was compiled for one kind of GPU.

    Attributes:
        registers: Of a thread, accumulators included.
        scalars: Scalar registers of a warp (AMD).
        spilled: Vector registers that the compiler says it has spilled (AMD).
        parked: Scalar registers that are kept in lanes of vector registers, which is not memory (AMD).
        stack: Bytes of a thread's own memory.
        shared: Bytes of shared memory of a block, those that a launch asks for included.
        threads: Of a block.
        tensor_columns: Columns of tensor memory of a block.
        instructions: What the code consists of; None where no disassembler here knows it.
        multiplies: Whether the source multiplies matrices of less than 32 bits per value.
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
    """Look at what `triton.compile` has returned."""
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
    """Bytes of shared memory without the KB that the system has in every block: from sm_90 on a cubin counts it too."""
    return max(0, shared - 1024) if arch >= 90 else shared


def _said_by(tool: str, *arguments: str) -> str | None:
    """What a tool that ships with Triton prints; None where it does not know the binary."""
    ended = subprocess.run([_TOOLS / tool, *arguments], capture_output=True, text=True, check=False)
    return ended.stdout if ended.returncode == 0 and ended.stdout else None


_FUNCTION = re.compile(r"Function (\S+):\s+((?:[A-Z]+(?:\[\d+\])?:\d+ ?)+)")


def resource_usage(text: str, kernel: str) -> dict[str, int]:
    """What `cuobjdump -res-usage` says about `kernel`: `REG`, `STACK`, `SHARED`, `LOCAL` and others.

    Raises:
        ValueError: It says nothing about it.
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
    """Count in what nvdisasm has printed."""
    return _counted(_sass_events(found.group(1)) for found in _SASS.finditer(sass))


class _Event(NamedTuple):
    """What an instruction counts as: `"tensor"`, `"load"`, `"copy"`, `"store own"` or `"load own"`, and its bytes."""

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
    """Count in the assembly that a code object was made from."""
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
