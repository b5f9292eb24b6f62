"""A process as a full disk, or a low limit, leaves it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    """With a soft limit on a resource; RLIMIT_FSIZE, in bytes of a file, fails as a full disk does (with EFBIG)."""
    before, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, most))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, most))
