"""`python -m marcot.engine.cli`, for where the `marcot` script is not on the path."""

from .program import main

main()
