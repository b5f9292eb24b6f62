"""The process that `marcot` is: how it begins and how it ends."""

from __future__ import annotations

import os
import sys

from . import signals, streams

_USAGE_ERROR = 2
"""The exit code of an `InputError`, whose module would import torch."""


def main() -> None:
    """Run the command line, and end as a signal asks, if there is one. Nothing is imported before it is listened to."""
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
            # Python makes a RuntimeError of whatever is raised in a descriptor's __set_name__, as in an import.
            if not signals.arrived():
                raise
            code = signals.INTERRUPTED
    except KeyboardInterrupt:  # while the above was ending anyway
        code = signals.INTERRUPTED
    signals.ignore()
    streams.show_cursor()
    sys.exit(signals.exit_code() if code == signals.INTERRUPTED else code)  # type: ignore[arg-type]


def _leave_out_current_folder() -> None:
    """Keep a `numpy.py` in the current folder, where `python -m marcot` looks first, from being taken for numpy.

    Raises:
        SystemExit: The current folder is gone, which torch does not survive.
    """
    try:
        here = os.getcwd()
    except OSError:
        streams.say("error: the current folder is gone; change to one that is there")
        sys.exit(_USAGE_ERROR)
    if not sys.flags.safe_path and sys.path[:1] == [here]:
        del sys.path[0]
