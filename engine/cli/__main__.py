"""`python -m marcot.engine.cli`, for where the `marcot` script is not on the path."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, see `python -m marcot`

from .program import main

main()
