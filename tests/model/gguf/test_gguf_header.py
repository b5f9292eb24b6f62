"""Headers of GGUF files, also damaged ones."""

import struct
from pathlib import Path

import numpy as np
import pytest
from marcot.model import CheckpointError
from marcot.model.gguf.header import read_header

HUGE = 2**63


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name="w", shape=(4, 2), kind=0, offset=0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(*, magic=b"GGUF", version=3, entries=(), tensors=(), entry_count=None, tensor_count=None, body=64) -> bytes:
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(entries) if entry_count is None else entry_count,
    )
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join([*entries, *tensors])
    return head + bytes(-len(head) % 32) + bytes(body)


def parse(content: bytes):
    return read_header(Path("some.gguf"), np.frombuffer(content, np.uint8))


def test_every_kind_of_value():
    scalars = {0: ("B", 7), 1: ("b", -7), 2: ("H", 7), 3: ("h", -7), 4: ("I", 7), 5: ("i", -7), 6: ("f", 0.5)}
    scalars |= {7: ("?", True), 10: ("Q", 2**63), 11: ("q", -(2**62)), 12: ("d", 1e300)}
    entries = [entry(f"k{kind}", kind, struct.pack(f"<{code}", value)) for kind, (code, value) in scalars.items()]
    entries += [
        entry("text", 8, text("héllo")),
        entry("ints", 9, struct.pack("<IQ3i", 5, 3, 1, -2, 3)),
        entry("texts", 9, struct.pack("<IQ", 8, 3) + text("a") + text("") + text("日本")),
        entry("nothing", 9, struct.pack("<IQ", 8, 0)),
    ]
    metadata = parse(gguf(entries=entries)).metadata
    assert {key: metadata[key] for key in metadata if key[0] == "k"} == {f"k{k}": v for k, (_, v) in scalars.items()}
    assert metadata["k7"] is True
    assert (metadata["text"], metadata["ints"]) == ("héllo", [1, -2, 3])
    assert (metadata["texts"], metadata["nothing"]) == (["a", "", "日本"], [])


@pytest.mark.parametrize("version", [2, 3])
def test_tensor_table(version):
    content = gguf(version=version, tensors=[tensor("a", (4, 2)), tensor("b", (32,), kind=8, offset=32)], body=66)
    a, b = parse(content).tensors.values()
    assert (a.name, a.shape, a.format, a.nbytes) == ("a", (2, 4), "F32", 32)
    assert (b.name, b.shape, b.format, b.nbytes) == ("b", (32,), "Q8_0", 34)
    assert b.offset + b.nbytes == len(content)


def test_alignment_key_moves_the_tensors():
    alignment = entry("general.alignment", 4, struct.pack("<I", 256))
    content = gguf(entries=[alignment], tensors=[tensor()], body=512)
    assert parse(content).tensors["w"].offset == 256


HOSTILE = {
    "empty": (b"", "not a GGUF file"),
    "short": (b"GGUF\x03", "not a GGUF file"),
    "wrong magic": (gguf(magic=b"GGML"), "not a GGUF file"),
    "version 1": (gguf(version=1), "has GGUF version 1"),
    "version 4": (gguf(version=4), "has GGUF version 4"),
    "big-endian": (gguf(version=3 << 24), "is big-endian"),
    "tensor count": (gguf(tensor_count=HUGE), f"claims {HUGE} tensors"),
    "metadata count": (gguf(entry_count=HUGE), f"claims {HUGE} metadata entries"),
    "key length": (gguf(entries=[struct.pack("<Q", HUGE)], body=64), "metadata key of"),
    "text length": (gguf(entries=[entry("k", 8, struct.pack("<Q", HUGE))]), "ends inside its header"),
    "array count": (gguf(entries=[entry("k", 9, struct.pack("<IQ", 4, HUGE))]), f"claims {HUGE} values of k"),
    "tensors in one place": (gguf(tensors=[tensor("a"), tensor("b")]), "tensors a and b overlap"),
    "tensors that overlap": (
        gguf(tensors=[tensor("a", offset=32), tensor("b", (32, 2))], body=512),
        "tensors b and a overlap",
    ),
    "string count": (gguf(entries=[entry("k", 9, struct.pack("<IQ", 8, HUGE))]), f"claims {HUGE} strings of k"),
    "string in array": (
        gguf(entries=[entry("k", 9, struct.pack("<IQQ", 8, 1, HUGE))]),
        "metadata k: the file ends inside its strings",
    ),
    "string is not UTF-8": (
        gguf(entries=[entry("k", 9, struct.pack("<IQ", 8, 1) + text(b"\xff"))]),
        "metadata k: string 0 is broken",
    ),
    "value is not UTF-8": (gguf(entries=[entry("k", 8, text(b"\xff\xfe"))]), "k: not UTF-8"),
    "unknown value type": (gguf(entries=[entry("k", 13, bytes(8))]), "metadata k has the unsupported value type 13"),
    "nested array": (gguf(entries=[entry("k", 9, struct.pack("<IQ", 9, 1))]), "unsupported value type 9"),
    "key twice": (gguf(entries=[entry("k", 0, b"1"), entry("k", 0, b"2")]), "metadata key k appears twice"),
    "alignment": (
        gguf(entries=[entry("general.alignment", 4, struct.pack("<I", 48))]),
        "general.alignment is 48: must be a power of two",
    ),
    "alignment zero": (gguf(entries=[entry("general.alignment", 4, bytes(4))]), "general.alignment is 0"),
    "alignment is text": (gguf(entries=[entry("general.alignment", 8, text("32"))]), "general.alignment is '32'"),
    "tensor twice": (gguf(tensors=[tensor(), tensor()]), "tensor w appears twice"),
    "no dimensions": (gguf(tensors=[tensor(shape=())]), "tensor w has 0 dimensions"),
    "five dimensions": (gguf(tensors=[tensor(shape=(1,) * 5)]), "tensor w has 5 dimensions"),
    "dimension zero": (gguf(tensors=[tensor(shape=(4, 0))]), "tensor w has the impossible shape [0, 4]"),
    "dimension huge": (gguf(tensors=[tensor(shape=(HUGE, 2))]), "tensor w has the impossible shape"),
    "product overflows": (gguf(tensors=[tensor(shape=(2**40, 2**40))]), "tensor w ends at byte"),
    "unknown element type": (gguf(tensors=[tensor(kind=99)]), "tensor w has the unknown element type 99"),
    "half a block": (gguf(tensors=[tensor(shape=(31,), kind=8)]), "rows of 31 values do not fill Q8_0 blocks"),
    "offset unaligned": (gguf(tensors=[tensor(offset=4)]), "tensor w: offset 4 is not a multiple of 32"),
    "offset outside": (gguf(tensors=[tensor(offset=64)]), "tensor w ends at byte"),
    "offset huge": (gguf(tensors=[tensor(offset=HUGE)]), "tensor w ends at byte"),
    "data truncated": (gguf(tensors=[tensor()])[:-40], "it is truncated"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_header(content, message):
    with pytest.raises(CheckpointError) as caught:
        parse(content)
    assert str(caught.value).startswith("some.gguf: ")
    assert message in str(caught.value)


def test_cut_at_every_byte_of_the_header():
    entries = [entry("k", 9, struct.pack("<IQ", 8, 2) + text("a") + text("bc")), entry("n", 4, struct.pack("<I", 5))]
    content = gguf(entries=entries, tensors=[tensor()])
    for end in range(len(content) - 32):
        with pytest.raises(CheckpointError, match=r"some\.gguf"):
            parse(content[:end])
