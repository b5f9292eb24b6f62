"""The `marcot` program: its commands, error messages and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, cast

import typer

from . import signals, streams
from .commands.bench import bench
from .commands.compare import compare
from .commands.dataset import dataset
from .commands.eval import eval
from .commands.generate import generate
from .commands.merge import merge
from .commands.models import models
from .commands.score import score
from .commands.search import search
from .commands.serve import serve
from .options import renamed as option_names
from .signals import INTERRUPTED

app = typer.Typer(
    name="marcot",
    help="Tree search with language models on a KV cache that is itself a tree.\n\n"
    'Start with:  marcot search --model qwen2.5-coder-0.5b "What is 17 * 3 + 4?"',
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": option_names.present},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_UsageError = cast(type[Exception], typer.BadParameter.__base__)  # every version of typer has this path to it
app.command()(search)
app.command()(merge)
app.command()(generate)
app.command(context_settings={"token_normalize_func": option_names.present_of_score})(score)
app.command()(models)
app.command()(eval)
app.command()(compare)
app.command()(dataset)
app.command()(serve)
app.command()(bench)


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


def _path(error: Any) -> str:  # noqa: ANN401  (a _UsageError)
    """The command whose help explains an error; an option without a value is an error without a context."""
    if error.ctx is not None:
        return str(error.ctx.command_path)
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    return " ".join(["marcot", *(word for word in sys.argv[1:2] if word in names)])


def _refuse(error: Any) -> int:  # noqa: ANN401  (a _UsageError, which is not a static type)
    """Print what is wrong with the arguments, or the help if there are none, and return the exit code."""
    message = error.format_message().rstrip(".")
    if message:
        streams.say(f"error: {message}. Try '{_path(error)} --help'.")
    return int(error.exit_code)


def main() -> None:
    """Run the command line.

    A `MarcotError`, or an error of the system such as a full disk, becomes one line on stderr and an exit code.
    `MARCOT_DEBUG=1` shows the traceback instead.
    """
    streams.prepare()
    try:
        try:
            code = app(standalone_mode=False)
        finally:
            streams.flush()
        sys.exit(code)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except _UsageError as error:
        sys.exit(_refuse(error))
    except Exception as error:
        from ...kernels import MarcotError
        from ..errors import OutputError

        if isinstance(error, OSError) and streams.is_broken_pipe(error):
            sys.exit(1)
        if not isinstance(error, MarcotError | OSError) or os.environ.get("MARCOT_DEBUG") == "1":
            raise
        known = error if isinstance(error, MarcotError) else streams.as_output_error(error)
        if signals.arrived() and not isinstance(known, OutputError):
            sys.exit(INTERRUPTED)  # torch turns an interruption into another error while it reads a tensor's memory
        streams.say(f"error: {known}")
        sys.exit(known.exit_code)
