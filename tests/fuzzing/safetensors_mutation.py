"""Safetensors files with false headers."""

from __future__ import annotations

from random import Random
from typing import Any

from . import byte_mutation, json_mutation
from .json_mutation import Object

_DTYPES = (
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL", "F8_E4M3", "F8_E5M2",
    "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4", "F6_E2M3", "F6_E3M2", "C64", "f32", "Q8_0", "",
)  # fmt: skip
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "C64": 8}


def mutate(data: bytes, random: Random) -> tuple[bytes, str]:
    """Falsify the valid file `data` in one to three places; return it and a description."""
    length = int.from_bytes(data[:8], "little")
    header, content = json_mutation.parsed(data[8 : 8 + length]), data[8 + length :]
    told = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        header, how = _lie(header, random)
        told.append(how)
    if random.random() < 0.15:
        content, how = random.choice((_cut, _grown, byte_mutation.mutate))(content, random)
        told.append(how)
    text = json_mutation.written(header)
    text += b" " * random.choice((0, 0, -len(text) % 8, 1))
    claimed = (
        random.choice((0, 2, len(text) - 1, len(text) + 1, 2**31, 2**63, 2**64 - 1))
        if random.random() < 0.08
        else len(text)
    )
    changed = claimed.to_bytes(8, "little") + text + content
    if random.random() < 0.1:
        changed, how = byte_mutation.mutate(changed, random, head=8 + len(text))
        told.append(how)
    return changed, "; ".join(told)


def _cut(content: bytes, random: Random) -> tuple[bytes, str]:
    return content[: random.randrange(len(content) + 1)], "weights cut"


def _grown(content: bytes, random: Random) -> tuple[bytes, str]:
    return content + bytes(random.choice((1, 4096))), "weights grown"


def _lie(header: Any, random: Random) -> tuple[Any, str]:
    tensors = [pair for pair in header if isinstance(pair[1], Object)] if isinstance(header, Object) else []
    if not tensors or random.random() < 0.35:
        return json_mutation.mutate(header, random)
    (name, info), (other_name, other) = random.choice(tensors), random.choice(tensors)
    action = random.choice(
        ("dtype", "dtype", "recast", "recast", "shape", "offsets", "overlap", "name", "delete", "order")
    )
    shape, offsets = info.get("shape"), info.get("data_offsets")
    if action in ("dtype", "recast"):
        dtype = random.choice(_DTYPES)
        info.put("dtype", dtype)
        if action == "recast" and _numbers(offsets) and len(offsets) == 2:  # a shape that fits the existing bytes
            count = (offsets[1] - offsets[0]) // _SIZES.get(dtype, 1)
            width = shape[-1] if _numbers(shape) and shape and shape[-1] > 0 else 1
            info.put("shape", random.choice(([count], [count // width, width], [1, count])))
        return header, f"{action} of {name}: {dtype}"
    if action == "shape":
        info.put(
            "shape",
            random.choice(
                ([], [0], [-1], [2**32, 2**32], [2**63], [1.5], [2**40, 0], [[1]], shape and shape[::-1], "x")
            ),
        )
    elif action == "offsets":
        info.put(
            "data_offsets",
            random.choice(
                ([0, 0], [4, 0], [0, 2**63], [-4, 0], [0], [0, 4, 8], [1, 5], None, offsets and offsets[::-1])
            ),
        )
    elif action == "overlap":
        info.put("data_offsets", other.get("data_offsets"))
    elif action == "name":
        tensors[0][0] = random.choice(
            (other_name, name + "\x1b[2J", "lm_head.weight", "__metadata__", "model.layers.9.x")
        )
    elif action == "delete":
        header.remove(next(pair for pair in header if pair[1] is info))
    else:
        random.shuffle(header)
    return header, f"{action} of {name}"


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(number, int) for number in value)
