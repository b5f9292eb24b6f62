"""Which planner the tests of the engine run on."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from marcot.engine import native_forest
from marcot.kernels.cpu.build import _FLAGS

_SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g", "-shared", "-fPIC")


@pytest.fixture(scope="session", autouse=True)
def _planner(request: pytest.FixtureRequest) -> Iterator[None]:
    """With PLANNER=sanitized in the environment, the one in C++ ends the process at the first byte out of bounds.

    The sanitizer has to be there before the interpreter: see `make test-sanitized`.
    """
    if os.environ.get("PLANNER") != "sanitized":
        yield
        return
    library = _sanitized_library(request.config.cache.mkdir("planner"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_forest, "built_library", lambda *_, **__: library)
        native_forest.library.cache_clear()
        assert native_forest.library() is not None
        yield
    native_forest.library.cache_clear()


def _sanitized_library(folder: Path) -> Path:
    """The planner with sanitizers in it, compiled to a file in `folder` if that has not been done before."""
    sources = sorted(native_forest._SOURCES.iterdir())
    command = ["g++", *_FLAGS, *_SANITIZED, str(native_forest._SOURCES / "marcot.cpp")]
    digest = hashlib.sha256(repr(command).encode() + b"".join(file.read_bytes() for file in sources))
    library = folder / f"planner-{digest.hexdigest()[:20]}.so"
    if not library.exists():
        without = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        fresh = library.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(fresh)], env=without, check=True)
        fresh.replace(library)
    return library
