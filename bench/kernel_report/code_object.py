"""Reads the metadata of the kernel in an AMD code object: a note of the ELF file, a map in MessagePack.

Layout: LLVM's "User Guide for AMDGPU Backend", "Code Object V5 Metadata".
"""

from __future__ import annotations

import io
from typing import Any

import msgpack
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

_METADATA = (32, "NT_AMDGPU_METADATA")
"""Type of the note: pyelftools returns a number now, and may return the name in later versions."""

_VENDOR = "AMDGPU"


def kernel_metadata(elf: bytes) -> dict[str, Any]:
    """Return the metadata of the only kernel: `.vgpr_count`, `.private_segment_fixed_size` and so on.

    Raises:
        ValueError: The file is not a code object with exactly one kernel.
    """
    try:
        file = ELFFile(io.BytesIO(elf))
        if file.elfclass != 64:
            raise ValueError("not a 64-bit ELF file")
        sections = [each for each in file.iter_sections() if isinstance(each, NoteSection)]
        notes = [note for section in sections for note in section.iter_notes()]
    except ELFError as error:
        raise ValueError(f"not a 64-bit ELF file: {error}") from error
    for note in notes:
        if note["n_name"] == _VENDOR and note["n_type"] in _METADATA:
            kernels: list[dict[str, Any]] = msgpack.unpackb(note["n_descdata"])["amdhsa.kernels"]
            if len(kernels) != 1:
                raise ValueError(f"a code object with {len(kernels)} kernels")
            return kernels[0]
    raise ValueError("no AMDGPU metadata in the file")
