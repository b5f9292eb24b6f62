"""The `marcot` program: its commands, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from .compare import compare
from .dataset import dataset
from .eval import eval
from .generate import generate
from .models import models
from .score import score
from .search import search

app = typer.Typer(
    name="marcot",
    help="Tree search with language models on a KV cache that is itself a tree.\n\n"
    'Start with:  marcot search --model qwen2.5-coder-0.5b "What is 17 * 3 + 4?"',
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(search)
app.command()(generate)
app.command()(score)
app.command()(models)
app.command()(eval)
app.command()(compare)
app.command()(dataset)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"marcot {version('marcot')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself; the help text is that of `app`."""


def main() -> None:
    """Run the command line.

    A `MarcotError` becomes one line on stderr and its exit code; `MARCOT_DEBUG=1` shows the traceback instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What is no valid Unicode (a lone surrogate in an argument) is written as an escape, which JSON reads back.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        app()
    except Exception as error:
        from ...kernels import MarcotError

        if not isinstance(error, MarcotError) or os.environ.get("MARCOT_DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
