"""Errors of the engine. Each message says what is wrong and what to do next."""

from __future__ import annotations

from ..kernels import MarcotError


class RenamedWarning(FutureWarning):
    """An old name was used, which the next release will no longer accept."""


class InputError(MarcotError):
    """An argument, a question or an input file is invalid."""

    exit_code = 2


class OutputError(MarcotError):
    """Output cannot be written: the disk is full, or a device fails."""

    exit_code = 74


class SamplingError(InputError):
    """A sampling parameter is out of its range."""


class ContextOverflowError(InputError):
    """A prompt is longer than the model's context."""


class CallableError(InputError):
    """A user's value, action, answer rule, parser or strategy raised an error or returned something invalid.

    The message names it and the question; `__cause__` is the error that it raised, if any.
    """


class PoolTooSmallError(MarcotError):
    """A single branch needs more KV pages than the whole pool has."""

    exit_code = 3


class ReleasedNodeError(MarcotError):
    """A node was used after its release."""

    exit_code = 2


class EngineBusyError(MarcotError):
    """An engine was used by one thread while another thread was using it."""


class QueueFullError(MarcotError):
    """A serving engine already has the maximum number of requests; try again later."""


class EngineClosedError(MarcotError):
    """A serving engine has been closed, or is closing, and accepts no more requests."""


class RequestCancelledError(MarcotError):
    """A request was cancelled before it had a result."""


class EngineStepError(MarcotError):
    """A step of the engine failed while it served this request, among others; `__cause__` is the original error."""


class WorkerLostError(MarcotError):
    """The process of a replica has died; the message says how."""


class ForkedEngineError(MarcotError):
    """An engine was used in a fork of the process that loaded it."""


class IntegrityError(MarcotError):
    """The KV tree is inconsistent, which is a bug in marcot."""

    exit_code = 70
