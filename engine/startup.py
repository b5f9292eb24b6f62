"""What a program does once, between its imports and its first engine."""

from __future__ import annotations

import gc
from functools import cache


@cache
def freeze_imports() -> None:
    """Keep the garbage collector from walking again and again what has been imported, which lives until the end.

    That is nearly 200,000 objects, most of them torch's. Collections took 14 % of the host's time in the MCTS of
    `make bench-host`.
    Only programs of ours do this, and only before they load a model: what is frozen is never collected, and a library
    does not know what its caller wants collected.
    """
    gc.freeze()
