"""The caller's handle on a running request."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from ..routines.routine import Routine
from .engine_thread import EngineThread
from .event_joining import EventJoining
from .mailbox import Mailbox

E = TypeVar("E")
T = TypeVar("T")


class RequestHandle(Generic[E, T]):
    """Submits a routine and receives its events; if the handle is dropped before the end, the request is cancelled.

    Attributes:
        request_id: The request's name, to pass to the engine's `cancel`.
    """

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[E, T],
        joining: EventJoining[E],
        wake: Callable[[], None],
        request_id: str | None,
    ) -> None:
        """Submit `routine`; see `EngineThread.submit` and `Mailbox`."""
        mailbox = Mailbox(joining, wake)
        submission = thread.submit(routine, mailbox.put, request_id)
        self.request_id = submission.request_id
        self._mailbox = mailbox
        self._future = submission.future
        self._finalizer = finalizer = weakref.finalize(self, submission.cancel)
        finalizer.atexit = False

        def end(_: object) -> None:
            finalizer.detach()  # the future holds the result, or an error whose frames may hold this handle
            mailbox.end()

        submission.future.add_done_callback(end)

    def cancel(self) -> None:
        """Ask the request to end, from any thread. Calling it twice, or after the end, is harmless."""
        self._finalizer()

    def _taken(self) -> tuple[E | None, bool]:
        """The next event, or None if none waits; and whether the request is over and all its events have been taken.

        Raises:
            MarcotError: The request has failed; raised once all its events have been taken.
        """
        ended = self._mailbox.ended  # read before taking an event: one may arrive between the two, just before the end
        event = self._mailbox.take()
        if event is None and ended:
            self._future.result()
        return event, event is None and ended
