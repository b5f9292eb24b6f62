"""The header of a GGUF file: metadata and the table of tensors.

Every count and offset is checked against the file's size before anything is allocated for it. The `gguf` package has a
reader too, but it takes seconds instead of a fraction of one, because it turns every string into an array.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np

from ..errors import CheckpointError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 65536
MAX_HEADER_BYTES = 2**27
"""Maximum size of a header in bytes. A vocabulary of 250,000 words with its merges takes less than a tenth of this in
the file, and several times its size in memory."""

MAX_NAME_BYTES = 65535
MAX_DIMENSIONS = 4
MAX_DIMENSION = 2**40

Scalar = bool | int | float
Value = Scalar | str | Sequence[Scalar] | Sequence[str]
"""A metadata value."""

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The position and format of a tensor.

    Attributes:
        name: GGUF's name, such as `"blk.0.attn_q.weight"`.
        shape: Slowest dimension first, as in torch; GGUF stores the reverse.
        format: GGML's name of the element or block format, such as `"F32"` or `"Q4_K"`.
        offset: Its first byte in the file.
        nbytes: Its size in bytes.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata by key and tensors by name."""

    metadata: dict[str, Value]
    tensors: dict[str, TensorInfo]


def read_header(path: Path, data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> GgufHeader:
    """Parse and check the header of the file `path`, whose bytes are `data`.

    Raises:
        CheckpointError: The file is not a GGUF file of version 2 or 3, or is truncated or inconsistent; or the `gguf`
            package, which knows the block formats, is not installed.
    """
    formats = _block_formats(path)
    cursor = _Cursor(path, data.data[:MAX_HEADER_BYTES])
    if data.size < 24 or bytes(cursor.take(4)) != MAGIC:
        raise CheckpointError(f"{path}: not a GGUF file (it does not begin with {MAGIC.decode()})")
    version = cursor.u32()
    if version not in VERSIONS:
        why = "is big-endian" if version & 0xFFFF == 0 else f"has GGUF version {version}"
        raise CheckpointError(f"{path}: {why}; only little-endian files of version 2 and 3 are supported")
    tensor_count = cursor.count("tensors", each=24)
    metadata_count = cursor.count("metadata entries", each=13)
    metadata: dict[str, Value] = {}
    for _ in range(metadata_count):
        key = cursor.name("metadata key")
        if key in metadata:
            raise CheckpointError(f"{path}: metadata key {key} appears twice")
        metadata[key] = cursor.value(cursor.u32(), key)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise CheckpointError(
            f"{path}: general.alignment is {alignment!r}: must be a power of two from 8 to {MAX_ALIGNMENT}"
        )
    entries = [cursor.tensor_entry() for _ in range(tensor_count)]
    start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for name, shape, type_number, offset in entries:
        if name in tensors:
            raise CheckpointError(f"{path}: tensor {name} appears twice")
        if type_number not in formats:
            raise CheckpointError(f"{path}: tensor {name} has the unknown element type {type_number}")
        tensor_format, block, block_bytes = formats[type_number]
        if shape[-1] % block:
            raise CheckpointError(
                f"{path}: tensor {name}: rows of {shape[-1]} values do not fill {tensor_format} blocks"
            )
        nbytes = prod(shape) // block * block_bytes
        if offset % alignment:
            raise CheckpointError(f"{path}: tensor {name}: offset {offset} is not a multiple of {alignment}")
        if start + offset + nbytes > data.size:
            raise CheckpointError(
                f"{path}: tensor {name} ends at byte {start + offset + nbytes}, "
                f"but the file at {data.size}: it is truncated"
            )
        tensors[name] = TensorInfo(name, shape, tensor_format, start + offset, nbytes)
    _refuse_overlaps(path, tensors.values())
    return GgufHeader(metadata, tensors)


def _refuse_overlaps(path: Path, tensors: Iterable[TensorInfo]) -> None:
    """Refuse tensors that share bytes, because a small file could then claim any amount of weights."""
    ordered = sorted(tensors, key=lambda tensor: tensor.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.nbytes > after.offset:
            raise CheckpointError(f"{path}: tensors {before.name} and {after.name} overlap")


def _block_formats(path: Path) -> dict[int, tuple[str, int, int]]:
    """Name, values per block and bytes per block of every element type."""
    try:
        from gguf import GGML_QUANT_SIZES
    except ImportError as error:
        raise CheckpointError(f"{path}: reading .gguf files needs the gguf package: pip install gguf") from error
    return {int(kind): (kind.name, block, size) for kind, (block, size) in GGML_QUANT_SIZES.items()}


class _Cursor:
    """A read position that never leaves the file."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self.path = path
        self.data = data
        self.position = 0

    def take(self, size: int) -> memoryview:
        begin = self.position
        self._need(size)
        self.position = begin + size
        return self.data[begin : begin + size]

    def u32(self) -> int:
        value: int = _U32.unpack(self.take(4))[0]
        return value

    def u64(self) -> int:
        value: int = _U64.unpack(self.take(8))[0]
        return value

    def count(self, what: str, each: int) -> int:
        """A u64 count of things that take at least `each` bytes."""
        count = self.u64()
        left = len(self.data) - self.position
        if count * each > left:
            raise CheckpointError(f"{self.path}: claims {count} {what} in the remaining {left} bytes")
        return count

    def name(self, what: str) -> str:
        length = self.u64()
        if length > MAX_NAME_BYTES:
            raise CheckpointError(f"{self.path}: a {what} of {length} bytes at byte {self.position}")
        return self._text(self.take(length), what)

    def value(self, kind: int, key: str) -> Value:
        if kind == _STRING:
            return self._text(self.take(self.u64()), key)
        if kind == _ARRAY:
            return self._array(key)
        return self._numbers(kind, 1, key)[0]

    def tensor_entry(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type number and offset of the next entry of the tensor table."""
        name = self.name("tensor name")
        dimensions = self.u32()
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise CheckpointError(f"{self.path}: tensor {name} has {dimensions} dimensions")
        shape = tuple(self.u64() for _ in range(dimensions))[::-1]
        if not all(1 <= size <= MAX_DIMENSION for size in shape):
            raise CheckpointError(f"{self.path}: tensor {name} has the impossible shape {list(shape)}")
        return name, shape, self.u32(), self.u64()

    def _array(self, key: str) -> Sequence[Scalar] | Sequence[str]:
        kind = self.u32()
        if kind != _STRING:
            width = np.dtype(_SCALARS[kind]).itemsize if kind in _SCALARS else 1
            return self._numbers(kind, self.count(f"values of {key}", each=width), key)
        count = self.count(f"strings of {key}", each=8)
        # The vocabulary and the merges are hundreds of thousands of strings, so only locals and two calls each.
        data, position, end, length_at = self.data, self.position, len(self.data), _U64.unpack_from
        strings = []
        try:
            for _ in range(count):
                begin = position + 8
                position = begin + length_at(data, position)[0]
                if position > end:
                    raise CheckpointError(
                        f"{self.path}: metadata {key}: the file ends inside its strings: it is truncated"
                    )
                strings.append(str(data[begin:position], "utf-8"))
        except (struct.error, UnicodeDecodeError) as error:
            raise CheckpointError(f"{self.path}: metadata {key}: string {len(strings)} is broken: {error}") from error
        self.position = position
        return strings

    def _numbers(self, kind: int, count: int, key: str) -> Sequence[Scalar]:
        if kind not in _SCALARS:
            raise CheckpointError(f"{self.path}: metadata {key} has the unsupported value type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        numbers: list[Scalar] = np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist()
        return numbers

    def _text(self, raw: memoryview, what: str) -> str:
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path}: {what}: not UTF-8: {error}") from error

    def _need(self, size: int) -> None:
        if size > len(self.data) - self.position:
            if len(self.data) == MAX_HEADER_BYTES:
                raise CheckpointError(f"{self.path}: the header is larger than {MAX_HEADER_BYTES >> 20} MiB")
            raise CheckpointError(
                f"{self.path}: the file ends inside its header, at byte {self.position}: it is truncated"
            )
