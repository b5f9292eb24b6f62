"""`marcot score`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..options import common as options
from ..options.groups import grouped
from ..options.model import ModelOptions

if TYPE_CHECKING:
    from ....model import Tokenizer
    from ...scoring import Score


@grouped
def score(
    *,
    model: options.ModelOption,
    text: Annotated[str | None, typer.Argument(help="The text to score; - reads it from stdin.")] = None,
    text_by_name: Annotated[str | None, typer.Option("--text", hidden=True)] = None,
    token_ids: options.TokenIdsOption = None,
    top_logprobs: Annotated[int, typer.Option(help="Top tokens listed per position.")] = 5,
    json: options.JsonOption = False,
    loading: ModelOptions,
) -> None:
    """Score a text: print the probability of each of its tokens, and the tokens that the model expected instead.

    Log-probabilities are raw, each conditioned on all tokens before it; the first token has none.

    For example:

      marcot score -m smollm2-135m "The capital of France is Paris."

      marcot score -m ./no-tokenizer --token-ids "1 2 3" --top-logprobs 3 --json
    """
    from ...checking import check_integer
    from ...errors import InputError
    from ...results.json_form import score_object, to_line
    from ..spinner import spinner

    if [text, text_by_name, token_ids].count(None) != 2:
        raise InputError("give either a text or --token-ids")
    tokens = options.prompt_or_ids(text_by_name if text is None else text, token_ids)
    engine = loading.load(model)
    limit = engine.config.vocab_size
    check_integer("top_logprobs", top_logprobs, f"from 1 to {limit}", least=1, most=limit)
    with spinner("scoring"):
        [rated] = engine.score([tokens], top_logprobs)
    if json:
        print(to_line(score_object(rated)))
    else:
        _print_table(rated, engine.tokenizer)


def _print_table(score: Score, tokenizer: Tokenizer | None) -> None:
    """Print a line per token, with the most probable tokens on its right."""

    def name(id: int) -> str:
        return repr(tokenizer.decode([id], keep_special=True)) if tokenizer else str(id)

    print(f"{'logprob':>9}  {'token':<20}  expected")
    for position, (id, logprob) in enumerate(zip(score.token_ids, score.logprobs, strict=True)):
        expected = "  ".join(
            f"{name(int(top))} {top_logprob:.2f}"
            for top, top_logprob in zip(score.top_ids[position], score.top_logprobs[position], strict=True)
            if position
        )
        print(f"{f'{logprob:.4f}' if position else '-':>9}  {name(int(id)):<20}  {expected}".rstrip())
    print(f"{score.logprobs[1:].sum():9.4f}  sum of {len(score.logprobs) - 1}")
