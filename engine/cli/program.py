"""The entry point of the `marcot` program: signals, standard streams and exit codes."""

from __future__ import annotations

import os
import sys

from . import signals, streams

_USAGE_ERROR = 2
"""The exit code of an `InputError`, repeated here because its module imports torch."""


def main() -> None:
    """Run the command line. Signal handlers are set before any slow import; a signal determines the exit code."""
    code: object = 0
    try:
        try:
            signals.listen()
            streams.prepare()
            streams.tell_warnings()
            _leave_out_current_folder()
            from .app import main as run

            run()
        except SystemExit as end:
            code = end.code
        except KeyboardInterrupt:
            code = signals.INTERRUPTED
        except Exception:
            # Python turns any error in a descriptor's __set_name__, as during an import, into a RuntimeError.
            if not signals.arrived():
                raise
            code = signals.INTERRUPTED
    except KeyboardInterrupt:  # it arrived while the code above was finishing
        code = signals.INTERRUPTED
    signals.ignore()
    streams.show_cursor()
    sys.exit(signals.exit_code() if code == signals.INTERRUPTED else code)  # type: ignore[arg-type]


def _leave_out_current_folder() -> None:
    """Remove the current folder, which `python -m marcot` searches first, from the path: it may have a `numpy.py`.

    Raises:
        SystemExit: The current folder does not exist any more, which would make torch fail.
    """
    try:
        here = os.getcwd()
    except OSError:
        streams.say("error: the current folder does not exist any more; change to another one")
        sys.exit(_USAGE_ERROR)
    if not sys.flags.safe_path and sys.path[:1] == [here]:
        del sys.path[0]
