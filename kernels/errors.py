"""The root of every error that marcot raises on purpose."""

from __future__ import annotations


class MarcotError(Exception):
    """An error with a message for the user: what is wrong, where, and what to do next.

    `exit_code` is what the command line exits with when this error ends it.
    """

    exit_code = 1


class KernelsUnavailableError(MarcotError):
    """The requested kernel set does not exist here."""

    exit_code = 5
