"""Damage to bytes, without any knowledge of the file format."""

from __future__ import annotations

from random import Random


def mutate(data: bytes, random: Random, head: int | None = None) -> tuple[bytes, str]:
    """Damage `data`, mostly in its first `head` bytes; return it and a description of the damage."""
    if not data:
        return random.randbytes(20), "something for nothing"
    size = len(data) if head is None or random.random() < 0.2 else min(head, len(data))
    at = random.randrange(size)
    action = random.choice(("bit", "bit", "byte", "bytes", "cut", "grow", "delete", "repeat", "splice", "zero", "odd"))
    changed = bytearray(data)
    if action == "bit":
        changed[at] ^= 1 << random.randrange(8)
    elif action == "byte":
        changed[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x5C, 0x7B, random.randrange(256)))
    elif action == "bytes":
        changed[at : at + 8] = random.randbytes(8)
    elif action == "cut":
        del changed[at:]
    elif action == "grow":
        changed += random.randbytes(random.choice((1, 7, 64, 5000)))
    elif action == "delete":
        del changed[at : at + random.choice((1, 4, 8, 100))]
    elif action == "repeat":
        changed[at:at] = changed[at : at + random.choice((1, 8, 200))]
    elif action == "splice":
        other = random.randrange(size)
        changed[at : at + 32] = changed[other : other + 32]
    elif action == "zero":
        changed[at : at + random.choice((8, 64, 4096))] = bytes(8)
    else:
        number = random.choice((0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**48, len(data)))
        changed[at : at + 8] = (number % 2**64).to_bytes(8, "little")
    return bytes(changed), f"{action} at byte {at}"
