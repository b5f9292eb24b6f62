"""`python -m marcot`, for where the `marcot` script is not on the path."""

from marcot.engine.cli.program import main

main()
