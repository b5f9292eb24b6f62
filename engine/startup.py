"""What a program does once, between its imports and its first engine."""

from __future__ import annotations

import gc
from functools import cache
from typing import Final

_YOUNG_OBJECTS: Final = 20_000
"""Allocations between two collections, instead of Python's 700. A search keeps its objects until it ends and leaves no
cycles behind, so collections find next to nothing. Between 5,000 and 200,000 the number makes no difference to the MCTS
of `make bench-host`; with 700, the host takes 5 to 25 % longer."""


@cache
def tune_garbage_collector() -> None:
    """Keep the garbage collector from traversing, again and again, objects that live until the process ends.

    Imports create nearly 200,000 objects, most of them torch's: collections took 14 % of the host's time in the MCTS of
    `make bench-host`. These objects are frozen, and collections become rarer. Only marcot's own programs call this, and
    only before they load a model: frozen objects are never collected, and a library does not know what its caller wants
    collected.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
