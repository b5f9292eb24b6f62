"""A share of a run's questions, so that several machines can split them."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from ..errors import InputError

_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")


class Shard(NamedTuple):
    """Shard `number` of `of`: every `of`-th question, so that long and short questions are spread evenly.

    Attributes:
        number: Number of this shard, from 1 to `of`.
        of: Total number of shards.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `3/16`.

        Raises:
            InputError: `text` has another form, or there is no such shard.
        """
        match = _SHARD.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"--shard {text}: must be NUMBER/COUNT, from 1/COUNT to COUNT/COUNT, such as 3/16")
        return cls(int(match[1]), int(match[2]))

    def __contains__(self, index: object) -> bool:
        """Whether the question at position `index` of the file belongs to it."""
        return isinstance(index, int) and index % self.of == self.number - 1
