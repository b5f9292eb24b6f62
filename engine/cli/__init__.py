"""The command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line inside another Python process; see `app.main`. The `marcot` program is `program.main`."""
    from .app import main

    main()
