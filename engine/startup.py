"""What a program does once, between its imports and its first engine."""

from __future__ import annotations

import gc
from functools import cache
from typing import Final

_YOUNG_OBJECTS: Final = 20_000
"""How many objects are made between two collections, instead of Python's 700. A search keeps what it makes until it
ends and leaves no cycles behind, so collections find next to nothing. Between 5,000 and 200,000 the number makes no
difference to the MCTS of `make bench-host`; with 700, the host takes 5 to 25 % longer."""


@cache
def tune_garbage_collector() -> None:
    """Keep the garbage collector from walking again and again what lives until the end.

    What has been imported is nearly 200,000 objects, most of them torch's: collections took 14 % of the host's time in
    the MCTS of `make bench-host`. They are frozen, and collections become rarer.
    Only programs of ours do this, and only before they load a model: what is frozen is never collected, and a library
    does not know what its caller wants collected.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
