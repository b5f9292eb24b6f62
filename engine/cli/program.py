"""The process that `marcot` is: how it begins and how it ends."""

from __future__ import annotations

import sys

from . import signals, streams


def main() -> None:
    """Run the command line, and end as a signal asks, if there is one. Nothing is imported before it is listened to."""
    signals.listen()
    code: object = 0
    try:
        try:
            from .app import main as run

            run()
        except SystemExit as end:
            code = end.code
        except KeyboardInterrupt:
            code = signals.INTERRUPTED
    except KeyboardInterrupt:  # the first one, while the above was ending anyway
        code = signals.INTERRUPTED
    signals.ignore()
    streams.show_cursor()
    sys.exit(signals.exit_code() if code == signals.INTERRUPTED else code)  # type: ignore[arg-type]
