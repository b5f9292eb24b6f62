"""`python -m marcot.engine.cli`, if the `marcot` script is not on the path."""

from .program import main

main()
