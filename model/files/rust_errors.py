"""Translates errors of `tokenizers` and `safetensors`, which are written in Rust."""

from __future__ import annotations

from ..errors import CheckpointError


def translated(error: BaseException, message: str, kind: type[CheckpointError] = CheckpointError) -> BaseException:
    """The error to raise instead of one from a call into Rust: a `kind` with `message` and the reason.

    Rust code raises bare `Exception`s. If it panics, it raises something that is not an `Exception` and whose class
    cannot be imported. marcot's own errors, and those that interrupt a process, are returned unchanged.
    """
    panicked = type(error).__name__ == "PanicException"
    if isinstance(error, CheckpointError) or not (panicked or isinstance(error, Exception)):
        return error
    return kind(f"{message}: {error}")
