"""`marcot generate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...text.printable import printable
from ..options import common as options
from ..options.groups import grouped
from ..options.model import ModelOptions
from ..options.sampling import SamplingOptions
from ..signals import INTERRUPTED
from ..streams import say

if TYPE_CHECKING:
    from ...node import Node


@grouped
def generate(
    *,
    model: options.ModelOption,
    prompt: Annotated[str | None, typer.Argument(help="The prompt; - reads it from stdin.")] = None,
    token_ids: options.TokenIdsOption = None,
    chat: Annotated[bool, typer.Option("--chat", help="Put the prompt into the checkpoint's chat template.")] = False,
    messages: Annotated[
        Path | None,
        typer.Option(help="JSON file with a list of chat messages (role, content) instead of a prompt; - reads stdin."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message, with --chat or --messages.")] = None,
    samples: Annotated[
        int, typer.Option("--samples", "-n", help="Number of samples; the prompt is computed once.")
    ] = 1,
    max_tokens: Annotated[int, typer.Option(help="Maximum tokens of a sample.")] = 512,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Print a single sample while it is drawn (the default on a terminal), or when it is complete.",
            show_default=False,
        ),
    ] = None,
    json: options.JsonOption = False,
    sampling: SamplingOptions,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Go on past end-of-sequence tokens.", rich_help_panel="Sampling")
    ] = False,
    top_logprobs: Annotated[
        int, typer.Option(help="Top tokens listed per position with --json.", rich_help_panel="Sampling")
    ] = 5,
    loading: ModelOptions,
) -> None:
    """Continue a prompt with one or more samples.

    --json prints one object per sample with its token ids, raw log-probabilities, most probable tokens and confidence.

    For example:

      marcot generate -m smollm2-135m --chat "Name three primes."

      marcot generate -m smollm2-135m --messages conversation.json

      marcot generate -m smollm2-135m -n 4 --max-tokens 16 --json "The capital of France is"

      marcot generate -m ./no-tokenizer --token-ids "1 2 3" --temperature 0 --json
    """
    from ...checking import check_branches, check_integer
    from ...errors import InputError
    from ...results.json_form import sample_object, to_line
    from ..messages import read_messages
    from ..spinner import spinner

    _check_start(prompt, token_ids, messages, chat, system)
    check_branches("samples", check_integer("samples", samples, "at least 1", least=1))
    if stream and (json or samples > 1):
        raise InputError(f"--stream prints a single sample as text; omit {'--json' if json else '-n'}")
    drawing = sampling.sampling(max_tokens=max_tokens, ignore_eos=ignore_eos, top_logprobs=top_logprobs)
    conversation = read_messages(messages) if messages is not None else None
    start = options.prompt_or_ids(prompt, token_ids) if conversation is None else ""
    streaming = samples == 1 and not json and (sys.stdout.isatty() if stream is None else stream)
    try:
        engine = loading.load(model)
        with spinner("reading the prompt" if streaming else f"{samples} x {max_tokens} tokens at most"):
            if conversation is not None:
                start = engine.chat_ids(conversation, system)
            elif chat and isinstance(start, str):
                start = engine.chat_ids(start, system)
            node = engine.prefill(start)
            drawn = [] if streaming else engine.expand(node, samples, drawing)
        if streaming:
            _print_live(engine.stream_text(node, drawing))
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    for index, sample in enumerate(drawn):
        if json:
            print(to_line(sample_object(index, sample, top_logprobs)))
        else:
            _print(index, sample, samples)


def _check_start(
    prompt: str | None, token_ids: str | None, messages: Path | None, chat: bool, system: str | None
) -> None:
    """Check that exactly one of prompt, token ids and messages is given, and that the other options fit it.

    Raises:
        InputError: None or more than one is given, or an option does not fit.
    """
    from ...errors import InputError

    given = 3 - [prompt, token_ids, messages].count(None)
    if given != 1:
        only = "only one of " if given else ""
        raise InputError(f"give {only}a prompt, --token-ids, or a conversation with --messages")
    if token_ids is not None and chat:
        raise InputError("--chat needs a text prompt, not --token-ids")
    if system is not None and not chat and messages is None:
        raise InputError("--system needs --chat or --messages")


def _print_live(events: Iterator[str | Node]) -> None:
    """Print the parts of a text as they arrive, and always a final line feed; token ids if there is no text."""
    try:
        for event in events:
            if isinstance(event, str):
                print(printable(event), end="", flush=True)
            elif not event.text:
                print(" ".join(map(str, event.token_ids.tolist())), end="")
    finally:
        print(flush=True)


def _print(index: int, sample: Node, samples: int) -> None:
    """Print a sample's text, or its token ids if there is no text."""
    if samples > 1:
        print(f"--- sample {index + 1} of {samples}, confidence {sample.confidence:.3f}, {sample.finish_reason}")
    print(printable(sample.text) or " ".join(map(str, sample.token_ids.tolist())))
