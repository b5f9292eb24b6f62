"""Caches on disk what `read_binary` found: disassembling a binary takes longer than finding it in Triton's cache."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from triton.compiler import CompiledKernel

from .. import ROOT
from . import binary, code_object
from .binary import Binary, Instructions, Loads, read_binary

_FOLDER = ROOT / ".benchmarks" / "kernel_report"
_LOOKED_AT = {"ttir", "cubin", "amdgcn", "hsaco"}
_READERS = b"".join(Path(str(module.__file__)).read_bytes() for module in (binary, code_object))


def binary_of(compiled: CompiledKernel) -> Binary:
    """Return the result of `read_binary(compiled)`, from the cache if possible."""
    digest = hashlib.sha256(_READERS + json.dumps(compiled.metadata._asdict(), default=str).encode())
    for kind in sorted(_LOOKED_AT & compiled.asm.keys()):
        text = compiled.asm[kind]
        digest.update(text if isinstance(text, bytes) else text.encode())
    path = _FOLDER / f"{digest.hexdigest()}.json"
    if path.exists():
        return _restored(json.loads(path.read_text()))
    found = read_binary(compiled)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(found))
    fresh.replace(path)
    return found


def _restored(fields: list[Any]) -> Binary:
    found = Binary(*fields)
    if found.instructions is None:
        return found
    tensor, loads, copies, stored, loaded = found.instructions
    return found._replace(instructions=Instructions(tensor, Loads(*loads), Loads(*copies), stored, loaded))
