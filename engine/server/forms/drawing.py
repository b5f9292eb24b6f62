"""From what a request says about drawing to a `Sampling`."""

from __future__ import annotations

import secrets

from ...sampling.sampling import Sampling
from ..errors import RequestError
from ..schemas.sampling import SamplingRequest
from ..settings import ServerSettings

_CONFIDENCE = 5
"""Most probable tokens that every answer's confidence is computed from."""

_NOT_YET = ("presence_penalty", "frequency_penalty", "logit_bias", "allowed_token_ids", "bad_words", "min_tokens")

_SEED_BITS = 63


def sampling_of(
    request: SamplingRequest, max_tokens: int, top_logprobs: int | None, settings: ServerSettings
) -> Sampling:
    """How the tokens of a request are drawn. What it leaves out is as with OpenAI: temperature 1 and no truncation.

    Args:
        request: The request.
        max_tokens: Tokens that fit after its prompt, or fewer if it asks for fewer.
        top_logprobs: Most probable tokens of each place that it wants to know; None for no log-probabilities.
        settings: The server's limits.

    Raises:
        RequestError: It asks for more than the server allows.
        SamplingError: The engine cannot do what it asks for.
    """
    check_logprobs(top_logprobs, settings, "logprobs")
    for name in _NOT_YET:
        if getattr(request, name):
            raise RequestError(f"{name}: marcot does not do this yet", param=name)
    stop = request.stop
    return Sampling(
        temperature=_given(request.temperature, 1.0),
        top_p=_given(request.top_p, 1.0),
        top_k=max(request.top_k or 0, 0),
        min_p=_given(request.min_p, 0.0),
        repetition_penalty=_given(request.repetition_penalty, 1.0),
        seed=secrets.randbits(_SEED_BITS) if request.seed is None else request.seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        stop_token_ids=tuple(request.stop_token_ids or ()),
        include_stop=request.include_stop_str_in_output,
        ignore_eos=request.ignore_eos,
        max_tokens=max_tokens,
        top_logprobs=max(top_logprobs or 0, _CONFIDENCE),
    )


def check_logprobs(wanted: int | None, settings: ServerSettings, param: str) -> None:
    """See that a request asks for no more most probable tokens of each place than the server allows.

    Raises:
        RequestError: It does.
    """
    if wanted is not None and wanted > settings.max_logprobs:
        raise RequestError(f"{param}: at most {settings.max_logprobs} most probable tokens can be told", param=param)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
