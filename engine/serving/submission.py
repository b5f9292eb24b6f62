"""A caller's work, on its way through the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from ..errors import RequestCancelledError
from ..routines.routine import Routine

E = TypeVar("E")
T = TypeVar("T")


class Submission(Generic[E, T]):
    """A routine that is run between the engine's steps.

    Attributes:
        request_id: Its name, unique among open submissions.
        future: Resolves to what the routine returns or raises.
    """

    def __init__(
        self, request_id: str, routine: Routine[E, T], deliver: Callable[[E], None], wake: Callable[[], None]
    ) -> None:
        """Create a submission that has not started.

        Args:
            request_id: Its name.
            routine: The work.
            deliver: Called with each event of the routine.
            wake: Wakes the engine's thread.
        """
        self.request_id = request_id
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # from now on only the engine's thread ends it
        self._routine = routine
        self._deliver = deliver
        self._wake = wake
        self._is_cancelled = False
        self._outcome: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Ask it to end before the next step; may be called from any thread, any number of times."""
        self._is_cancelled = True
        self._wake()

    def advance(self) -> bool:
        """Run the routine up to the next step; return whether it is over.

        Call this, `fail` and `end` only in the engine's thread.
        """
        if not self._is_cancelled:
            return self._resume(None)
        self._is_cancelled = False
        return self.fail(RequestCancelledError(f"request {self.request_id} was cancelled"))

    def fail(self, error: Exception) -> bool:
        """Raise `error` in the routine and run it up to the next step; return whether it is over."""
        return self._resume(error)

    def end(self) -> None:
        """Resolve the future of a submission that is over."""
        outcome, self._outcome = self._outcome, None
        assert outcome is not None, "it is over"
        outcome()

    def _resume(self, error: Exception | None) -> bool:
        try:
            event = next(self._routine) if error is None else self._routine.throw(error)
            while event is not None:
                self._deliver(event)
                event = next(self._routine)
        except StopIteration as stop:
            self._outcome = partial(self.future.set_result, stop.value)
        except Exception as raised:
            self._routine.close()
            self._outcome = partial(self.future.set_exception, raised)
        else:
            return False
        return True
