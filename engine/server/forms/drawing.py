"""Turns the sampling fields of a request into a `Sampling`."""

from __future__ import annotations

from ...sampling.sampling import Sampling
from ..errors import RequestError
from ..schemas.sampling import SamplingRequest
from ..settings import ServerSettings

_CONFIDENCE = 5
"""Number of most probable tokens from which every answer's confidence is computed."""

_DIGITS = 10
"""Maximum digits of a token id."""


def sampling_of(
    request: SamplingRequest, max_tokens: int, top_logprobs: int | None, settings: ServerSettings
) -> Sampling:
    """The `Sampling` of a request; omitted fields have OpenAI's defaults: temperature 1, no truncation.

    Args:
        request: The request.
        max_tokens: Most new tokens of a sample.
        top_logprobs: How many of the most probable tokens to return per position; None for no log-probabilities.
        settings: The server's limits.

    Raises:
        RequestError: The request asks for more than the server allows.
        SamplingError: The engine does not support a value.
    """
    check_logprobs(top_logprobs, settings, "logprobs")
    stop = request.stop
    return Sampling(
        temperature=_given(request.temperature, 1.0),
        top_p=_given(request.top_p, 1.0),
        top_k=max(request.top_k or 0, 0),
        min_p=_given(request.min_p, 0.0),
        repetition_penalty=_given(request.repetition_penalty, 1.0),
        presence_penalty=_given(request.presence_penalty, 0.0),
        frequency_penalty=_given(request.frequency_penalty, 0.0),
        logit_bias=_biases(request.logit_bias or {}),
        allowed_token_ids=tuple(request.allowed_token_ids or ()),
        bad_words=tuple(request.bad_words or ()),
        min_tokens=request.min_tokens,
        seed=request.seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        stop_token_ids=tuple(request.stop_token_ids or ()),
        include_stop=request.include_stop_str_in_output,
        ignore_eos=request.ignore_eos,
        max_tokens=max_tokens,
        top_logprobs=max(top_logprobs or 0, _CONFIDENCE),
    )


def check_logprobs(wanted: int | None, settings: ServerSettings, param: str) -> None:
    """Check how many of the most probable tokens per position a request asks for.

    Raises:
        RequestError: They are more than the server allows.
    """
    if wanted is not None and wanted > settings.max_logprobs:
        raise RequestError(f"{param}: must be at most {settings.max_logprobs} on this server", param=param)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _biases(given: dict[str, float]) -> dict[int, float]:
    biases: dict[int, float] = {}
    for token, bias in given.items():
        if not (token.isascii() and token.isdigit() and len(token) <= _DIGITS):
            raise RequestError("logit_bias: keys must be token ids, such as 17", param="logit_bias")
        biases[int(token)] = bias
    return biases
