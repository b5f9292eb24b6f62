"""GGUF files with false headers: a reader and a writer that check nothing, and the changes between them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from . import byte_mutation
from .json_mutation import ODD_NUMBERS, ODD_TEXTS

_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_BLOCK_TYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 20, 24, 25, 26, 27, 28, 30, 34, 35, 39, 4, 99, 2**31)
_ODD_COUNTS = (0, 1, 2, 3, 5, 2**16, 2**24, 2**31, 2**32, 2**40, 2**61, 2**63, 2**64 - 1)
_ALIGNMENT = 32


@dataclass
class Entry:
    """A metadata entry: its key, the number of its type, and the bytes of its value."""

    key: bytes
    kind: int
    payload: bytes


@dataclass
class Tensor:
    """An entry of the tensor table, with dimensions in the order of the file."""

    name: bytes
    dimensions: list[int]
    kind: int
    offset: int


@dataclass
class Gguf:
    """The parts of a file, each of which can be changed."""

    version: int
    entries: list[Entry]
    tensors: list[Tensor]
    data: bytes
    magic: bytes = b"GGUF"
    counts: dict[str, int] = field(default_factory=dict)

    def written(self) -> bytes:
        """The bytes of the file."""
        parts = [self.magic, struct.pack("<I", self.version)]
        parts.append(struct.pack("<Q", self.counts.get("tensors", len(self.tensors))))
        parts.append(struct.pack("<Q", self.counts.get("entries", len(self.entries))))
        for entry in self.entries:
            parts += [text(entry.key), struct.pack("<I", entry.kind), entry.payload]
        for tensor in self.tensors:
            dimensions = [dimension % 2**64 for dimension in tensor.dimensions]
            count = self.counts.get("dimensions", len(dimensions))
            parts += [text(tensor.name), struct.pack(f"<I{len(dimensions)}Q", count, *dimensions)]
            parts.append(struct.pack("<IQ", tensor.kind, tensor.offset % 2**64))
        header = b"".join(parts)
        return header + bytes(-len(header) % _ALIGNMENT) + self.data


def text(value: bytes) -> bytes:
    """A string in GGUF's encoding."""
    return struct.pack("<Q", len(value)) + value


def strings(values: list[bytes]) -> bytes:
    """The payload of an array of strings."""
    return struct.pack("<IQ", _STRING, len(values)) + b"".join(map(text, values))


def parsed(data: bytes) -> Gguf:
    """The parts of a valid file."""
    position = 4

    def take(format: str) -> tuple[int, ...]:
        nonlocal position
        position += struct.calcsize("<" + format)
        return struct.unpack_from("<" + format, data, position - struct.calcsize("<" + format))

    def take_text() -> bytes:
        nonlocal position
        (size,) = take("Q")
        position += size
        return data[position - size : position]

    def skip(kind: int) -> None:
        if kind == _STRING:
            take_text()
        elif kind == _ARRAY:
            inner, count = take("IQ")
            for _ in range(count):
                skip(inner)
        else:
            take(_FORMATS[kind])

    version, tensor_count, entry_count = take("IQQ")
    entries, tensors = [], []
    for _ in range(entry_count):
        key = take_text()
        (kind,) = take("I")
        begin = position
        skip(kind)
        entries.append(Entry(key, kind, data[begin:position]))
    for _ in range(tensor_count):
        name = take_text()
        (rank,) = take("I")
        dimensions = list(take(f"{rank}Q"))
        tensors.append(Tensor(name, dimensions, *take("IQ")))
    return Gguf(version, entries, tensors, data[position + -position % _ALIGNMENT :])


def mutate(data: bytes, random: Random) -> tuple[bytes, str]:
    """Falsify the valid file `data` in one to three places; return it and a description."""
    file = parsed(data)
    told = [_lie(file, random) for _ in range(random.choice((1, 1, 1, 2, 3)))]
    changed = file.written()
    if random.random() < 0.1:
        changed, how = byte_mutation.mutate(changed, random, head=len(changed) - len(file.data))
        told.append(how)
    return changed, "; ".join(told)


def _lie(file: Gguf, random: Random) -> str:
    return random.choice((_in_entry, _in_entry, _in_entry, _in_vocabulary, _in_tensor, _in_tensor, _in_whole))(
        file, random
    )


def _in_entry(file: Gguf, random: Random) -> str:
    entry = random.choice(file.entries)
    action = random.choice(("value", "value", "value", "type", "delete", "twice", "rename", "bytes", "add"))
    what = f"{action} of {entry.key.decode(errors='replace')}"
    if action == "value":
        entry.kind, entry.payload = _odd(entry.kind, random)
        return f"{what}: type {entry.kind} {entry.payload[:20]!r}"
    if action == "type":
        entry.kind = random.choice((*_FORMATS, _STRING, _ARRAY, 13, 2**31))
    elif action == "delete":
        file.entries.remove(entry)
    elif action == "twice":
        file.entries.append(Entry(entry.key, *_odd(entry.kind, random)))
    elif action == "rename":
        entry.key = _odd_name(random)
    elif action == "bytes":
        entry.payload, how = byte_mutation.mutate(entry.payload, random, head=12)
        return f"{what}: {how}"
    else:
        key = random.choice(
            (
                b"general.alignment", b"qwen2.rope.scaling.type", b"llama.rope.scaling.type", b"split.count",
                b"qwen2.rope.scaling.factor", b"llama.rope.scaling.factor", b"qwen2.attention.key_length",
                b"llama.attention.key_length", b"tokenizer.ggml.add_bos_token", b"tokenizer.ggml.eot_token_id",
                b"qwen2.rope.dimension_count", b"general.type", b"qwen2.rope.scaling.original_context_length",
            )
        )  # fmt: skip
        file.entries.insert(
            random.randrange(len(file.entries) + 1), Entry(key, *_odd(random.choice((4, 6, 8)), random))
        )
        return f"add {key.decode()}"
    return what


def _odd(kind: int, random: Random) -> tuple[int, bytes]:
    """A value of type `kind` that usually makes no sense."""
    if random.random() < 0.15:
        kind = random.choice((*_FORMATS, _STRING, _ARRAY))
    if kind == _STRING:
        value = random.choice((*ODD_TEXTS, "yarn", "linear", "llama", "qwen2", "llama-bpe", "gpt-2", "smollm"))
        return kind, text(value.encode("utf-8", "surrogatepass"))
    if kind == _ARRAY:
        inner = random.choice((0, 5, 6, _STRING, _ARRAY))
        count = random.choice((0, 1, 2, *_ODD_COUNTS))
        return kind, struct.pack("<IQ", inner, count) + random.randbytes(random.choice((0, 8, 64)))
    format = _FORMATS.get(kind, "I")
    if format == "?":
        return kind, bytes([random.choice((0, 1, 2, 255))])
    if format in "fd":
        return kind, struct.pack("<" + format, random.choice((0.0, -1.0, 1e-40, 1.0, 2.5, 1e30, *_NON_FINITE)))
    bits = 8 * struct.calcsize("<" + format)
    number = int(random.choice(ODD_NUMBERS)) if random.random() < 0.6 else random.randrange(300)
    return kind, (number % 2**bits).to_bytes(bits // 8, "little")


_NON_FINITE = (float("inf"), float("-inf"), float("nan"))


def _odd_name(random: Random) -> bytes:
    return random.choice((*(name.encode("utf-8", "surrogatepass") for name in ODD_TEXTS), b"\xff\xfe", b"x" * 65536))


def _in_vocabulary(file: Gguf, random: Random) -> str:
    """Change tokens, merges or token types."""
    named = {entry.key: entry for entry in file.entries}
    key = random.choice((b"tokens", b"merges", b"token_type"))
    entry = named.get(b"tokenizer.ggml." + key)
    if entry is None or entry.kind != _ARRAY or len(entry.payload) < 100:
        return "nothing"
    if key == b"token_type":
        count = len(entry.payload[12:]) // 4
        types = list(struct.unpack_from(f"<{count}i", entry.payload, 12))
        types[random.randrange(count)] = random.choice((-1, 0, 2, 3, 4, 5, 6, 7, 2**31 - 1))
        types = [4] * count if random.random() < 0.1 else types
        entry.payload = struct.pack(f"<IQ{count}i", 5, count, *types)
        return "types"
    values, position = [], 12
    while position + 8 <= len(entry.payload):
        (size,) = struct.unpack_from("<Q", entry.payload, position)
        values.append(entry.payload[position + 8 : position + 8 + size])
        position += 8 + size
    at = random.randrange(len(values))
    action = random.choice(("odd", "odd", "copy", "delete", "add", "reverse", "empty", "sole", "bytes", "swap"))
    if action == "odd":
        values[at] = random.choice(
            (*map(str.encode, ("", " ", "a b c", "a", "\u0120", "<|im_end|>")), _odd_name(random))
        )
    elif action == "copy":
        values[at] = random.choice(values)
    elif action == "delete":
        del values[at]
    elif action == "add":
        values += [random.choice(values) + b"x"] * random.choice((1, 20_000))
    elif action == "reverse":
        values.reverse()
    elif action == "empty":
        values = []
    elif action == "sole":
        values = values[at : at + 1]
    elif action == "bytes":
        values[at], _ = byte_mutation.mutate(values[at], random)
    else:
        other = random.randrange(len(values))
        values[at], values[other] = values[other], values[at]
    entry.payload = strings(values)
    return f"{action} in {key.decode()}"


def _in_tensor(file: Gguf, random: Random) -> str:
    if not file.tensors:
        return "nothing"
    tensor, other = random.choice(file.tensors), random.choice(file.tensors)
    action = random.choice(
        (
            "dimension",
            "dimension",
            "rank",
            "type",
            "type",
            "offset",
            "offset",
            "overlap",
            "name",
            "twice",
            "delete",
            "all",
        )
    )
    if action == "dimension":
        at = random.randrange(len(tensor.dimensions) or 1)
        old = tensor.dimensions[at]
        tensor.dimensions[at] = random.choice((0, -1, 1, old + 1, old - 1, old * 2, 2**20, 2**32, 2**40, 2**62, 2**63))
    elif action == "rank":
        tensor.dimensions = random.choice(
            ([], [1], tensor.dimensions[::-1], [*tensor.dimensions, 1], [2] * 5, [2] * 600)
        )
    elif action == "type":
        tensor.kind = random.choice(_BLOCK_TYPES)
    elif action == "offset":
        tensor.offset = random.choice((0, tensor.offset + 32, tensor.offset - 32, tensor.offset + 1, *_ODD_COUNTS))
    elif action == "overlap":
        tensor.offset = other.offset
    elif action == "name":
        tensor.name = random.choice((_odd_name(random), other.name, b"rope_freqs.weight", b"blk.99999.attn_q.weight"))
    elif action == "twice":
        file.tensors.append(Tensor(other.name, list(tensor.dimensions), tensor.kind, tensor.offset))
    elif action == "delete":
        file.tensors.remove(tensor)
    else:
        for each in file.tensors:
            each.offset = 0
    return f"{action} of tensor {tensor.name[:40]!r}"


def _in_whole(file: Gguf, random: Random) -> str:
    action = random.choice(("counts", "counts", "version", "magic", "cut", "grow", "weights", "weights", "endian"))
    if action == "counts":
        file.counts[random.choice(("tensors", "entries", "dimensions"))] = random.choice(_ODD_COUNTS[:9])
    elif action == "version":
        file.version = random.choice((0, 1, 2, 4, 2**24 * 3, 2**32 - 1))
    elif action == "magic":
        file.magic = random.choice((b"FUGG", b"\0\0\0\0", b"ggml", b"PK\3\4"))
    elif action == "cut":
        file.data = file.data[: random.randrange(len(file.data))]
    elif action == "grow":
        file.data += bytes(random.choice((1, 1000)))
    elif action == "weights":
        file.data = byte_mutation.mutate(file.data, random)[0]
    else:
        file.data = b"".join(file.data[i : i + 2][::-1] for i in range(0, len(file.data), 2))
    return action
