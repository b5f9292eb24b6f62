"""Resource limits, such as those that imitate a full disk."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    """Set a soft limit on a resource. RLIMIT_FSIZE, in bytes per file, makes writes fail (with EFBIG) as on a full
    disk.
    """
    before, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, most))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, most))
