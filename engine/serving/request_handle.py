"""A request under way, as whoever has made it holds it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ..routines.routine import Routine
from .engine_thread import EngineThread
from .mailbox import Mailbox

E = TypeVar("E")
T = TypeVar("T")


class RequestHandle(Generic[E, T]):
    """Submits a routine and receives its events; where it is dropped before the end, the request is cancelled.

    Attributes:
        request_id: The request's name, for `cancel`.
    """

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[E, T],
        key: Callable[[E], int],
        join: Callable[[Sequence[E]], E],
        wake: Callable[[], None],
        request_id: str | None,
    ) -> None:
        """Submit `routine`; see `EngineThread.submit` and `Mailbox`."""
        mailbox = Mailbox(key, join, wake)
        submission = thread.submit(routine, mailbox.put, request_id)
        self.request_id = submission.request_id
        self._mailbox = mailbox
        self._future = submission.future
        self._finalizer = finalizer = weakref.finalize(self, submission.cancel)
        finalizer.atexit = False

        def end(_: object) -> None:
            finalizer.detach()  # it holds the result, or the error and with its frames perhaps this handle
            mailbox.end()

        submission.future.add_done_callback(end)

    def cancel(self) -> None:
        """Ask for the request's end, from any thread. Doing it twice, or after the end, is harmless."""
        self._finalizer()

    def _taken(self) -> tuple[E | None, bool]:
        """The next event, if one waits, and whether it was the last one's turn already.

        Raises:
            MarcotError: What went wrong with the request, when all events have been taken.
        """
        ended = self._mailbox.ended  # before looking for an event, which may come before the end does
        event = self._mailbox.take()
        if event is None and ended:
            self._future.result()
        return event, event is None and ended
