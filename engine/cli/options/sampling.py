"""The options that say how tokens are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import common as options

if TYPE_CHECKING:
    from ...sampling.sampling import Sampling


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """Options of every command that draws tokens. See `Sampling` for what they mean."""

    temperature: options.TemperatureOption = 0.5
    top_k: options.TopKOption = 20
    top_p: options.TopPOption = 0.95
    min_p: options.MinPOption = 0.0
    repetition_penalty: options.RepetitionPenaltyOption = 1.0
    frequency_penalty: options.FrequencyPenaltyOption = 0.0
    presence_penalty: options.PresencePenaltyOption = 0.0
    logit_bias: options.LogitBiasOption = ""
    allowed_token_ids: options.AllowedTokenIdsOption = ""
    bad_words: options.BadWordOption = None
    min_tokens: options.MinTokensOption = 0
    stop: options.StopOption = None
    stop_token_ids: options.StopTokenIdsOption = ""
    seed: options.SeedOption = 0

    def sampling(self, **others: Any) -> Sampling:  # noqa: ANN401  (fields of `Sampling`)
        """How tokens are drawn, with what else the command knows of it.

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
