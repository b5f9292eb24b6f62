"""The options that commands share, each with its help text in one place."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

_MODEL = "Model"
_SEARCH = "Search"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A checkpoint folder, a .gguf file, a hub id (organisation/model, optionally with @revision or "
        ":file.gguf), or a name from marcot models.",
        rich_help_panel=_MODEL,
    ),
]


StrategyOption = Annotated[
    str,
    typer.Option(
        metavar="NAME[:P=V,...]",
        help="mcts, greedy, best-of-n, self-consistency, beam, dvts, rebase or your own class as module:Class; "
        "optionally with parameters, such as beam:beams=8,samples=4.",
        rich_help_panel=_SEARCH,
    ),
]
SolutionsOption = Annotated[
    int,
    typer.Option(
        help="Also print different solutions, up to this many, best first, for questions that have more than one.",
        rich_help_panel=_SEARCH,
    ),
]

InstructionOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Text to add to the question. auto: 'Reason step by step, and put your final answer within \\boxed{}.', "
        "but nothing if the checkpoint's template or --system mentions reasoning, if there is no template, with "
        "--answer-from, or if the question itself mentions a box. none: nothing.",
    ),
]
DataInstructionOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Text to add to each question. auto: a request to reason and to box the answer for questions that come "
        "with marcot, else nothing. none: nothing.",
    ),
]
QuestionsOption = Annotated[
    str | None, typer.Option(metavar="RANGE", help="Only these questions, counted from 1: 1-64,100.")
]

TokenIdsOption = Annotated[
    str | None, typer.Option(help='Token ids instead of text, such as "1 2 3"; needs no tokenizer.')
]
TreeOption = Annotated[
    Path | None,
    typer.Option(
        help="Write the search tree as a web page (.html), for Graphviz (.dot), or with every token (.json); with "
        "--input, one file per question, such as out-0001.html.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line and nothing else.")]


def parse_instruction(text: str, auto: str = "auto") -> str:
    """Return the text to add to a question: nothing for `none`, and the argument `auto` for `auto`."""
    return {"none": "", "auto": auto}.get(text.strip(), text)


def parse_date(text: str | None) -> date | None:
    """Return the date given by `--date`.

    Raises:
        InputError: It is not a date.
    """
    from ...errors import InputError

    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--date {text}: must be a day such as 2026-07-31") from None


_ID_DIGITS = 18
"""Maximum digits of a token id: more than any vocabulary needs, and few enough for 64 bits."""


def parse_token_ids(text: str, option: str) -> list[int]:
    """Return the integers in `text`, separated by spaces or commas.

    Raises:
        InputError: Something in it is not a token id.
    """
    from ...errors import InputError

    ids = []
    for word in text.replace(",", " ").split():
        if not (word.isascii() and word.isdigit() and len(word) <= _ID_DIGITS):
            raise InputError(f'{option}: {word!r} is not a token id; give integers >= 0, such as "1 2 3"')
        ids.append(int(word))
    return ids


def parse_logit_bias(text: str) -> dict[int, float]:
    """Parse `ID:BIAS` pairs, separated by spaces or commas; each bias is added to the logit of its token.

    Raises:
        InputError: A part of the text is not such a pair.
    """
    from ...errors import InputError

    biases = {}
    for pair in text.replace(",", " ").split():
        token, _, bias = pair.partition(":")
        try:
            [token_id] = parse_token_ids(token, "--logit-bias")
            biases[token_id] = float(bias)
        except ValueError:
            raise InputError(f'--logit-bias: {pair!r} is not a token id with a bias, such as "13:-100"') from None
    return biases


def split_names(text: str, option: str) -> list[str]:
    """Return the names in `text`, separated by commas.

    Raises:
        InputError: There is no name, or one occurs twice.
    """
    from ...errors import InputError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"{option} needs a name")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{option}: {name} occurs twice; name it once")
    return names


def read_text(argument: str, name: str) -> str:
    """Return `argument`, or the text on stdin if it is `-`.

    Args:
        argument: The argument as typed.
        name: Its name in messages.

    Raises:
        InputError: It is empty, only white space, or not valid text.
    """
    from ...errors import InputError

    try:
        text = sys.stdin.read().rstrip("\n") if argument == "-" else argument
    except UnicodeDecodeError as error:
        raise InputError(f"stdin: is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise InputError(f"stdin: cannot be read: {error.strerror}") from error
    if not text.strip():
        raise InputError(f"the {name} is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        # Python turns bytes of an argument that are not UTF-8 into lone surrogates.
        raise InputError(f"the {name} is not UTF-8 text")
    return text


def prompt_or_ids(prompt: str | None, token_ids: str | None) -> str | list[int]:
    """Return the prompt, or the token ids that were given in its place."""
    return parse_token_ids(token_ids, "--token-ids") if token_ids is not None else read_text(prompt or "", "prompt")
