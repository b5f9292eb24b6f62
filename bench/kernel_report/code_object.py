"""What an AMD code object says about its kernel: the metadata note of the ELF file, a map in MessagePack.

Layout: LLVM's "User Guide for AMDGPU Backend", "Code Object V5 Metadata"; https://github.com/msgpack/msgpack.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_NOTE_SECTION = 7
_METADATA = 32
_VENDOR = b"AMDGPU\0"


def kernel_metadata(elf: bytes) -> dict[str, Any]:
    """The entry of the only kernel: `.vgpr_count`, `.private_segment_fixed_size` and so on.

    Raises:
        ValueError: The file is not the code object of one kernel.
    """
    for vendor, kind, content in _notes(elf):
        if vendor == _VENDOR and kind == _METADATA:
            kernels: list[dict[str, Any]] = _Unpacker(content).value()["amdhsa.kernels"]
            if len(kernels) != 1:
                raise ValueError(f"a code object with {len(kernels)} kernels")
            return kernels[0]
    raise ValueError("no AMDGPU metadata in the file")


def _notes(elf: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Vendor, type and content of every note."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    (sections,) = struct.unpack_from("<Q", elf, 0x28)
    entry_size, entries = struct.unpack_from("<HH", elf, 0x3A)
    for entry in range(entries):
        _, kind, _, _, start, size = struct.unpack_from("<IIQQQQ", elf, sections + entry * entry_size)
        place, end = start, start + size
        while kind == _NOTE_SECTION and place < end:
            vendor_size, content_size, note = struct.unpack_from("<III", elf, place)
            content = place + 12 + _padded(vendor_size)
            yield elf[place + 12 : place + 12 + vendor_size], note, elf[content : content + content_size]
            place = content + _padded(content_size)


def _padded(size: int) -> int:
    return -(-size // 4) * 4


class _Unpacker:
    """Reads the types of MessagePack that metadata has: maps, arrays, strings, integers, booleans and nil."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def value(self) -> Any:  # noqa: ANN401  (what MessagePack holds)
        """The next value."""
        (kind,) = self._take(1)
        if kind < 0x80:
            return kind
        if kind < 0x90:
            return self._map(kind & 15)
        if kind < 0xA0:
            return self._array(kind & 15)
        if kind < 0xC0:
            return self._take(kind & 31).decode()
        if kind >= 0xE0:
            return kind - 256
        if kind in _SINGLE:
            return _SINGLE[kind]
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind in _STRINGS:
            return self._take(self._number(_STRINGS[kind])).decode()
        if kind in _ARRAYS:
            return self._array(self._number(_ARRAYS[kind]))
        if kind in _MAPS:
            return self._map(self._number(_MAPS[kind]))
        raise ValueError(f"metadata with a value of type {kind:#x}")

    def _take(self, count: int) -> bytes:
        taken = self._data[self._place : self._place + count]
        if len(taken) < count:
            raise ValueError("metadata that ends too early")
        self._place += count
        return taken

    def _number(self, form: str) -> int:
        number: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return number

    def _array(self, count: int) -> list[Any]:
        return [self.value() for _ in range(count)]

    def _map(self, count: int) -> dict[str, Any]:
        return {self.value(): self.value() for _ in range(count)}


_SINGLE = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = dict(zip(range(0xCC, 0xD4), (">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True))
_STRINGS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAYS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}
