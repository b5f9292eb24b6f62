"""What `tokenizers` and `safetensors` raise, which are written in Rust."""

from __future__ import annotations

from ..errors import CheckpointError


def translated(error: BaseException, message: str, kind: type[CheckpointError] = CheckpointError) -> BaseException:
    """The error to raise in place of one that a call into Rust raised: a `kind` that says `message`, and why.

    Rust's side raises bare `Exception`s, and where it panics something that is no `Exception`, whose class cannot be
    imported. Errors of ours, and what interrupts a process, stay what they are.
    """
    panicked = type(error).__name__ == "PanicException"
    if isinstance(error, CheckpointError) or not (panicked or isinstance(error, Exception)):
        return error
    return kind(f"{message}: {error}")
