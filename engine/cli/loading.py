"""Loading a model for a command."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine import Engine


def load_engine(
    model: str,
    *,
    device: str,
    dtype: str,
    compute: str,
    weights: str,
    threads: int | None,
    kv_tokens: int | None,
    kv_dtype: str = "auto",
    deterministic: bool = False,
    graphs: bool = True,
) -> Engine:
    """`Engine.load`; a person at a terminal is told how long it took, which is seconds."""
    from ..engine import Engine

    started = time.monotonic()
    engine = Engine.load(
        model,
        device=device,
        dtype=dtype,
        compute=compute,
        weights=weights,
        threads=threads,
        kv_tokens=kv_tokens,
        kv_dtype=kv_dtype,
        deterministic=deterministic,
        graphs=graphs,
    )
    if sys.stderr.isatty():
        print(f"loaded {model} in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return engine


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """On a terminal, a spinner on stderr that says `what` is going on; elsewhere nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
