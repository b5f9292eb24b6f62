"""Fields of every request that draws tokens: OpenAI's and vLLM's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, JsonValue

from ...sampling.sampling import LEAST_FACTOR, MOST_FACTOR
from .base import RequestModel
from .limited import limited
from .patterns import REQUEST_ID

TokenId = Annotated[int, Field(ge=0, lt=2**31, json_schema_extra=limited("vocabulary"))]
"""A token id; whether it is in the vocabulary is checked later."""

Samples = Annotated[int, Field(ge=1, json_schema_extra=limited("samples"))]

MaxTokens = Annotated[int, Field(ge=1, lt=2**31, json_schema_extra=limited("new tokens"))]

TopLogprobs = Annotated[int, Field(ge=0, json_schema_extra=limited("top logprobs"))]

_TOO_SMALL: dict[str, JsonValue] = {"exclusiveMinimum": 0, "exclusiveMaximum": LEAST_FACTOR}

Temperature = Annotated[float, Field(ge=0, le=MOST_FACTOR, json_schema_extra={"not": _TOO_SMALL})]
"""0 or a factor; the engine refuses factors that are too small."""

RepetitionPenalty = Annotated[float, Field(ge=LEAST_FACTOR, le=MOST_FACTOR)]

StopToken = Annotated[int, Field(ge=0, lt=2**31)]
"""A token id, which may be of another model: a token that is not in the vocabulary is never drawn."""

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]

Priority = Annotated[int, Field(ge=-(2**31), lt=2**31)]

CacheSalt = Annotated[str, Field(min_length=1)]

PromptTokens = Annotated[int, Field(ge=-1, lt=2**31, json_schema_extra={"not": {"const": 0}})]
"""How many tokens of a prompt to keep; -1 for as many as fit."""

RequestId = Annotated[str, Field(pattern=REQUEST_ID)]

LogitBias = Annotated[
    dict[str, Annotated[float, Field(ge=-100, le=100)]],
    Field(json_schema_extra={"propertyNames": {"pattern": "^[0-9]{1,10}$"}}),
]
"""Values by token id; keys are checked later."""

StopText = Annotated[str, Field(min_length=1)]

MAX_STOPS = 256
"""Most stop texts of a request; each is searched for in every piece of text."""

_NO_GRAMMARS = "marcot does not constrain text by a grammar or a schema; leave it out"
_NO_TOOLS = "marcot does not call tools; describe them in a message, and parse the text"


class StreamOptions(RequestModel):
    """What a stream contains besides the choices.

    Attributes:
        include_usage: Send a last chunk without choices that has the usage.
        continuous_usage_stats: Include the usage so far in every chunk.
    """

    no_effect: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: bool = False
    continuous_usage_stats: bool = False


class SamplingRequest(RequestModel):
    """How to draw tokens, and what to return about them. Fields have the same meaning as in vLLM.

    Attributes:
        model: Name of the served model; optional.
        n: Number of samples for each prompt.
        temperature: Divides the logits; 0 is greedy.
        top_p: Keep the most probable tokens up to this cumulative probability.
        top_k: Keep this many of the most probable tokens; 0 and -1 keep all.
        min_p: Keep tokens whose probability is at least this fraction of the most probable token's.
        repetition_penalty: Penalises tokens that occurred before, prompt included, by this factor on their logits.
        presence_penalty: Subtracted from the logits of tokens that were drawn before.
        frequency_penalty: Subtracted from the logit of a token once for each time it was drawn before.
        logit_bias: Added to the logits of tokens, by token id.
        allowed_token_ids: Draw only these tokens.
        bad_words: Texts that must not be drawn.
        seed: The same seed gives the same samples; by default samples differ each time.
        stop: A text, or texts, at which a sample ends.
        stop_token_ids: Tokens at which a sample ends.
        include_stop_str_in_output: Keep the stop text in the output.
        ignore_eos: Continue past end-of-sequence tokens.
        min_tokens: No sample ends before it has this many tokens.
        skip_special_tokens: Leave special tokens out of the text.
        stream: Send the text while it is drawn.
        stream_options: What else the stream contains.
        prompt_logprobs: Return log-probabilities of the prompt's tokens, and this many of the most probable tokens
            per position.
        return_token_ids: Also return token ids.
        return_tokens_as_token_ids: Write tokens in log-probabilities as `token_id:17`.
        truncate_prompt_tokens: Keep only the last tokens of a prompt, this many; -1 keeps as many as the context fits.
        priority: Requests with lower numbers go first.
        request_id: End of the answer's id.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        "tools": _NO_TOOLS,
        "tool_choice": _NO_TOOLS,
        "functions": _NO_TOOLS,
        "function_call": _NO_TOOLS,
        "parallel_tool_calls": _NO_TOOLS,
        "response_format": _NO_GRAMMARS,
        "structured_outputs": _NO_GRAMMARS,
        "guided_json": _NO_GRAMMARS,
        "guided_regex": _NO_GRAMMARS,
        "guided_choice": _NO_GRAMMARS,
        "guided_grammar": _NO_GRAMMARS,
        "use_beam_search": "marcot has no beam search over tokens here; POST /v1/search has beams of steps",
        "best_of": "request n samples with logprobs, and take the best",
        "length_penalty": "marcot has no beam search over tokens",
        "logits_processors": "requests cannot send code; use logit_bias, allowed_token_ids or bad_words",
        "lora_request": "marcot serves no LoRA adapters",
        "prompt_embeds": "prompts are text or token ids",
        "modalities": "marcot answers only with text",
        "audio": "marcot answers only with text",
        "web_search_options": "marcot does not search the web",
        "kv_transfer_params": "marcot does not move KV caches between servers",
        "truncation_side": "prompts are always cut on the left",
    }
    no_effect: ClassVar[frozenset[str]] = frozenset(
        {
            *("user", "metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
            *("safety_identifier", "spaces_between_special_tokens", "include_reasoning"),
        }
    )

    model: str | None = None
    n: Samples | None = None
    temperature: Temperature | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: RepetitionPenalty | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: LogitBias | None = None
    allowed_token_ids: Annotated[list[TokenId], Field(min_length=1)] | None = None
    bad_words: list[Annotated[str, Field(min_length=1)]] | None = None
    seed: Seed | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    stop_token_ids: list[StopToken] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    min_tokens: Annotated[int, Field(ge=0, lt=2**31)] = 0
    skip_special_tokens: bool = True
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    prompt_logprobs: TopLogprobs | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    truncate_prompt_tokens: PromptTokens | None = None
    priority: Priority = 0
    request_id: RequestId | None = None
