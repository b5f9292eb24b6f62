"""The sampling options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common as options

if TYPE_CHECKING:
    from ...sampling.sampling import Sampling

_SAMPLING = "Sampling"


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """Options of `generate` and `search`, see `Sampling`; `eval` and `compare` have them in their strategies."""

    temperature: Annotated[float, typer.Option(help="Divides the logits; 0 is greedy.", rich_help_panel=_SAMPLING)] = (
        0.5
    )
    top_k: Annotated[
        int, typer.Option(help="Keep the K most probable tokens; 0 keeps all.", rich_help_panel=_SAMPLING)
    ] = 20
    top_p: Annotated[
        float,
        typer.Option(
            help="Keep the most probable tokens up to this total probability; 1 keeps all.", rich_help_panel=_SAMPLING
        ),
    ] = 0.95
    min_p: Annotated[
        float,
        typer.Option(
            help="Keep tokens at least this many times as probable as the best one; 0 keeps all.",
            rich_help_panel=_SAMPLING,
        ),
    ] = 0.0
    repetition_penalty: Annotated[
        float, typer.Option(help="Penalty on tokens that occurred before; 1 means none.", rich_help_panel=_SAMPLING)
    ] = 1.0
    frequency_penalty: Annotated[
        float,
        typer.Option(help="Penalty on a token for each time it was drawn, -2 to 2.", rich_help_panel=_SAMPLING),
    ] = 0.0
    presence_penalty: Annotated[
        float, typer.Option(help="Penalty on tokens that were drawn, -2 to 2.", rich_help_panel=_SAMPLING)
    ] = 0.0
    logit_bias: Annotated[
        str,
        typer.Option(
            metavar="ID:BIAS ...",
            help='Numbers to add to the logits of tokens, such as "13:-100 198:2.5".',
            rich_help_panel=_SAMPLING,
        ),
    ] = ""
    allowed_token_ids: Annotated[
        str,
        typer.Option(
            help='The only tokens that may be drawn, such as "15 16"; all by default.', rich_help_panel=_SAMPLING
        ),
    ] = ""
    bad_words: Annotated[
        list[str] | None,
        typer.Option("--bad-word", help="Text that must not be generated; repeatable.", rich_help_panel=_SAMPLING),
    ] = None
    min_tokens: Annotated[
        int, typer.Option(help="Minimum tokens of a sample; nothing ends it earlier.", rich_help_panel=_SAMPLING)
    ] = 0
    stop: Annotated[
        list[str] | None,
        typer.Option(help="Text that ends a sample; repeat the option for several.", rich_help_panel=_SAMPLING),
    ] = None
    stop_token_ids: Annotated[
        str, typer.Option(help='Tokens that end a sample, such as "13 198".', rich_help_panel=_SAMPLING)
    ] = ""
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.", rich_help_panel=_SAMPLING)] = 0

    def sampling(self, **others: Any) -> Sampling:  # noqa: ANN401  (fields of `Sampling`)
        """The `Sampling` of these options and of `others`, which the command sets.

        Raises:
            SamplingError: A value is out of range.
            InputError: `stop_token_ids`, `allowed_token_ids` or `logit_bias` holds something else.
        """
        from ...sampling.sampling import Sampling

        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=options.parse_logit_bias(self.logit_bias),
            allowed_token_ids=tuple(options.parse_token_ids(self.allowed_token_ids, "--allowed-token-ids")),
            bad_words=tuple(self.bad_words or ()),
            min_tokens=self.min_tokens,
            stop=tuple(self.stop or ()),
            stop_token_ids=tuple(options.parse_token_ids(self.stop_token_ids, "--stop-token-ids")),
            seed=self.seed,
            **others,
        )
