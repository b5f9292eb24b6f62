"""`python -m marcot`, for where the `marcot` script is not on the path."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder: a numpy.py there is not the one that is wanted

from marcot.engine.cli.program import main

main()
