"""A value that asks a second model in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, Literal

import numpy as np
import torch

from ...kernels import MarcotError
from ..engine import Engine
from ..errors import InputError
from ..expansion import Expansion
from ..sampling.sampling import Sampling
from ..search.trace import Trace
from ..search.values.value import Value
from .verdict import verdict_question, verdict_tokens

MODES: Final = ("logprob", "yes")

_KV_TOKENS: Final = 16_384
"""Default size of the judge's KV pool: a question and a wave of its chains."""


class ModelJudge(Value):
    """Rates chains with a second model, which has its own KV pool.

    With mode `"logprob"`, a chain's value is the geometric mean of the probabilities that the judge gives to its tokens
    after the question. With `"yes"`, it is the probability that the judge, asked whether the chain is right, answers
    Yes rather than No. That is the idea of Marco-o1 v2's double check (arXiv 2503.01461): another model finds mistakes
    that the one which made them does not see. There, however, it writes a step of the chain instead of a rating.
    """

    def __init__(self, spec: str, model: str, mode: Literal["logprob", "yes"], load: Mapping[str, str]) -> None:
        """Make a judge; `prepare` loads its model.

        Args:
            spec: Its name in options and results.
            model: Name or path of the model.
            mode: How it rates.
            load: Options of `Engine.load`.
        """
        self._spec = spec
        self._model = model
        self._mode = mode
        self._load = load
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def name(self) -> str:
        """The spec, `"judge:MODEL?..."`."""
        return self._spec

    @property
    def slow(self) -> bool:
        """True: other questions go on while the judge reads."""
        return True

    def prepare(self) -> None:
        """Load the model, if it is not loaded yet.

        Raises:
            InputError: It cannot be loaded; the message names the judge.
        """
        with self._lock:
            self._loaded()

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        """See `batch`."""
        return self.batch(traces)

    def batch(self, traces: Sequence[Trace]) -> list[float]:
        """The values of chains of any questions. A question is computed once for all its chains.

        Raises:
            ContextOverflowError: A chain does not fit in the judge's context.
            PoolTooSmallError: A chain does not fit in its KV pool.
        """
        with self._lock:
            engine = self._loaded()
            return _by_verdict(engine, traces) if self._mode == "yes" else _by_logprob(engine, traces)

    def _loaded(self) -> Engine:
        if self._engine is None:
            options: dict[str, Any] = {**self._load, "kv_tokens": int(self._load.get("kv_tokens", _KV_TOKENS))}
            try:
                self._engine = Engine.load(self._model, **options)
            except (MemoryError, torch.OutOfMemoryError) as error:
                raise InputError(
                    f"{self._spec}: there is not enough memory for a second model: give the first one a smaller KV "
                    "pool (--kv-tokens, kv_tokens=), or the judge the options device=cpu or weights=int4"
                ) from error
            except MarcotError as error:
                raise InputError(f"{self._spec}: {error}") from error
        return self._engine


def _by_logprob(engine: Engine, traces: Sequence[Trace]) -> list[float]:
    """Geometric means of the probabilities of the chains' tokens; 0 for a chain without text."""
    assert engine.tokenizer is not None, "chat_ids needs one"
    values = [0.0] * len(traces)
    for question in dict.fromkeys(trace.question for trace in traces):
        own = [index for index, trace in enumerate(traces) if trace.question == question and trace.text]
        with engine.prefill(engine.chat_ids(question)) as prompt:
            chains = [engine.tokenizer.encode(traces[index].text) for index in own]
            scores = engine.score(chains, top_k=1, after=prompt) if chains else []
        for index, score in zip(own, scores, strict=True):
            values[index] = float(np.exp(score.logprobs.mean(dtype=np.float64)))
    return values


def _by_verdict(engine: Engine, traces: Sequence[Trace]) -> list[float]:
    """Probabilities of Yes among all tokens that begin Yes or No."""
    prompts = [engine.chat_ids(verdict_question(trace)) for trace in traces]
    assert engine.tokenizer is not None, "chat_ids needs one"
    yes, no = verdict_tokens(engine.tokenizer)
    allowed = tuple(sorted(yes | no))
    sampling = Sampling(
        temperature=1.0, top_k=0, top_p=1.0, allowed_token_ids=allowed, max_tokens=1, ignore_eos=True,
        logprobs="processed", top_logprobs=len(allowed),
    )  # fmt: skip
    with ExitStack() as held:
        nodes = [held.enter_context(engine.routines.open(prompt)) for prompt in prompts]
        values = []
        for [answer] in engine.expand([Expansion(node, 1, sampling) for node in nodes]):
            held.enter_context(answer)
            is_yes = np.isin(answer.top_ids[0], list(yes))
            values.append(float(np.exp(answer.top_logprobs[0][is_yes].astype(np.float64)).sum()))
    return values
