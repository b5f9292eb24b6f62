"""The base class of all errors that marcot raises on purpose, and the errors of kernels."""

from __future__ import annotations


class MarcotError(Exception):
    """An error with a message for the user: what is wrong, where, and what to do next.

    `exit_code` is the exit code of the command line when this error ends it.
    """

    exit_code = 1


class KernelsUnavailableError(MarcotError):
    """The requested op set is not available here, or does not support what is asked of it."""

    exit_code = 5


class KernelArgumentError(MarcotError):
    """An op was called with tensors whose shapes, dtypes or indices are invalid: a bug in the caller."""

    exit_code = 70


class NonFiniteError(MarcotError):
    """Numbers of a model are infinite or NaN: its weights, or results computed from them."""

    exit_code = 6


class NoCompilerError(KernelsUnavailableError):
    """An op set must be built on the machine that runs it, and this machine has no compiler for it."""


class KernelBuildError(KernelsUnavailableError):
    """The compiler of this machine could not build an op set's library; the message says why."""


class CompilerMishapError(KernelBuildError):
    """The compiler failed for a reason that may pass, such as a lack of disk space or memory."""
