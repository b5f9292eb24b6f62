"""The command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line in a process that has other things to do; see `app.main`. The program is `program.main`."""
    from .app import main

    main()
