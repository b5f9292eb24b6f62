"""Entry point of `python -m marcot`, for environments where the `marcot` script is not on `PATH`."""

from marcot.engine.cli.program import main

main()
