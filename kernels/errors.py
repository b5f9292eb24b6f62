"""The root of every error that marcot raises on purpose."""

from __future__ import annotations


class MarcotError(Exception):
    """An error with a message for the user: what is wrong, where, and what to do next.

    `exit_code` is what the command line exits with when this error ends it.
    """

    exit_code = 1


class KernelsUnavailableError(MarcotError):
    """The requested kernel set does not exist here, or cannot do what is asked of it."""

    exit_code = 5


class KernelArgumentError(MarcotError):
    """An op was called with tensors of shapes, dtypes or indices that it cannot work on: a bug in whoever calls it."""

    exit_code = 70


class NonFiniteError(MarcotError):
    """Numbers of a model are infinite or NaN: its weights, or what comes of them."""

    exit_code = 6


class NoCompilerError(KernelsUnavailableError):
    """A kernel set is built on the machine that runs it, and this one has no compiler for it."""


class KernelBuildError(KernelsUnavailableError):
    """The compiler of this machine makes no library of a kernel set; the message says why."""


class CompilerMishapError(KernelBuildError):
    """The compiler of this machine could not do its work, for want of room or memory say; later it may."""
