"""marcot as a language model of LLM Reasoners (https://github.com/maitrix-org/llm-reasoners).

Prompts that share a beginning share its K and V, also from call to call, so a search computes only what it adds.
"""

from __future__ import annotations

import random
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reasoners import GenerateOutput, LanguageModel

from ..completion import Completion
from ..engine import Engine
from ..errors import InputError
from ..sampling.sampling import Sampling
from ..serving.blocking_engine import BlockingEngine

_SEED_BITS = 63


class ReasonersModel(LanguageModel):  # type: ignore[misc]  # if the library is not installed, its classes are Any
    """A marcot engine behind the library's interface. Any number of threads may use it at once.

    It has the engine to itself until it is dropped.

    Attributes:
        engine: The engine; its `usage` counts the work.
    """

    def __init__(
        self,
        model: str | Engine,
        *,
        max_length: int | None = None,
        max_new_tokens: int | None = None,
        seed: int | None = 0,
        **options: Any,  # noqa: ANN401  (those of `Engine.load`)
    ) -> None:
        """Load a model.

        Args:
            model: A name or path for `Engine.load`, or a loaded engine.
            max_length: Default of `generate`; the model's context if None.
            max_new_tokens: Default of `generate`.
            seed: Seed of all draws; None for a random one.
            options: Options of `Engine.load`.

        Raises:
            MarcotError: The model cannot be loaded.
            InputError: It has no tokenizer.
        """
        super().__init__()
        self.engine = model if isinstance(model, Engine) else Engine.load(model, **options)
        if self.engine.tokenizer is None:
            raise InputError(f"{self.engine}: LLM Reasoners passes texts, and this checkpoint has no tokenizer")
        self._tokenizer = self.engine.tokenizer
        context = self.engine.config.max_positions
        self._max_length = context if max_length is None else min(max_length, context)
        self._max_new_tokens = max_new_tokens
        self._seeds = random.Random(seed)
        # The limit on requests is for servers; here, every caller waits for its own requests.
        self._serving = BlockingEngine(self.engine, max_requests=2**31)
        weakref.finalize(self, self._serving.close)

    def generate(
        self,
        inputs: list[str],
        max_length: int | None = None,
        max_new_tokens: int | None = None,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 1.0,
        num_return_sequences: int = 1,
        eos_token_id: str | int | Sequence[str | int] | None = None,
        hide_input: bool = True,
        output_log_probs: bool = False,
        stopping_criteria: None = None,
        **options: object,
    ) -> GenerateOutput:
        """Continue texts.

        Args:
            inputs: The texts. Equal texts, in one call or several, get different samples.
            max_length: Maximum tokens of a text and its continuation.
            max_new_tokens: Maximum tokens of a continuation; if it is given, `max_length` is ignored.
            do_sample: False is greedy.
            temperature: 0 is greedy.
            top_k: 0 keeps all.
            top_p: 1 keeps all.
            num_return_sequences: Samples of each text, which follow each other in the result.
            eos_token_id: Tokens that end a continuation, in addition to the model's own, and remain in it. A text
                stands for the last of its tokens.
            hide_input: Whether to return only the continuations.
            output_log_probs: Whether to return the raw log-probability of each drawn token.
            stopping_criteria: Not supported; must be None.
            options: Not supported; an option that is not None is refused by name.

        Raises:
            InputError: An option is not supported.
            MarcotError: A text leaves no room in the context.
        """
        options["stopping_criteria"] = stopping_criteria
        if unknown := sorted(name for name, value in options.items() if value is not None):
            raise InputError(f"generate({', '.join(unknown)}=...): marcot has no such option; leave it out")
        limit = self._max_new_tokens if max_new_tokens is None else max_new_tokens
        total = min(max_length or self._max_length, self._max_length)
        prompts = [self._tokenizer.encode(text, bos=self._tokenizer.adds_bos) for text in inputs]
        seed = self._seeds.getrandbits(_SEED_BITS)
        samplings = [
            Sampling(
                temperature=temperature if do_sample else 0.0,
                top_k=top_k,
                top_p=top_p,
                max_tokens=max(total - len(ids), 1) if limit is None else limit,
                stop_token_ids=self._end_tokens(eos_token_id),
                seed=seed,
            )
            for ids in prompts
        ]
        drawn = self._drawn(prompts, samplings, num_return_sequences)
        texts = [
            ("" if hide_input else text) + self._tokenizer.decode(sample.token_ids.tolist())
            for text, samples in zip(inputs, drawn, strict=True)
            for sample in samples
        ]
        logprobs = [sample.logprobs for samples in drawn for sample in samples]
        return GenerateOutput(texts, logprobs if output_log_probs else None)

    def get_next_token_logits(
        self,
        prompt: str | list[str],
        candidates: list[str] | list[list[str]],
        postprocess: str | None = None,
        **options: object,
    ) -> list[NDArray[np.float32]]:
        """Logits of candidates for the next token.

        Args:
            prompt: The text before it, or several texts.
            candidates: Candidates for all texts, or a list for each; each stands for the first of its tokens.
            postprocess: `"softmax"` or `"log_softmax"`, over the whole vocabulary, or None for raw logits.
            options: Ignored.

        Returns:
            For each text, `[candidates]` fp32.

        Raises:
            InputError: `postprocess` is something else.
        """
        if postprocess not in (None, "softmax", "log_softmax"):
            raise InputError(f"postprocess={postprocess!r:.100}: must be 'softmax', 'log_softmax' or None")
        texts = [prompt] if isinstance(prompt, str) else prompt
        each = [candidates] * len(texts) if isinstance(candidates[0], str) else candidates
        prompts = [self._tokenizer.encode(text, bos=self._tokenizer.adds_bos) for text in texts]
        everything = Sampling(temperature=0.0, max_tokens=1, top_logprobs=self.engine.config.vocab_size)
        found = []
        rows = self._drawn(prompts, [everything] * len(prompts), 1)
        for [row], words in zip(rows, each, strict=True):
            tokens = [self._tokenizer.encode(word)[0] for word in words]
            logits = np.empty(row.top_ids.shape[1], np.float32)
            logits[row.top_ids[0]] = row.top_logits[0]
            shift = row.lse[0] if postprocess else np.float32(0)
            chosen = logits[tokens] - shift
            found.append(np.exp(chosen) if postprocess == "softmax" else chosen)
        return found

    def get_loglikelihood(self, prefix: str, contents: list[str], **options: object) -> NDArray[np.float32]:
        """Log-probabilities of texts after a prefix that they begin with.

        Args:
            prefix: The prefix, which is computed once.
            contents: The texts, prefix included.
            options: Ignored.

        Returns:
            `[contents]` fp32, sums over the tokens that follow those of the prefix.

        Raises:
            InputError: `prefix` is empty, or a text does not begin with it.
        """
        given = self._tokenizer.encode(prefix)
        encoded = [self._tokenizer.encode(text) for text in contents]
        shared = min((_common(given, ids) for ids in encoded), default=0)
        if not shared or not all(text.startswith(prefix) for text in contents):
            raise InputError("prefix: must not be empty, and every text must begin with it")
        node = self._serving.prefill(given[:shared])
        try:
            rest = [ids[shared:] for ids in encoded]
            scores = iter(self._serving.score([ids for ids in rest if ids], 1, after=node))
            return np.array([next(scores).logprobs.sum(dtype=np.float64) if ids else 0.0 for ids in rest], np.float32)
        finally:
            node.release()

    def _drawn(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], n: int) -> list[list[Completion]]:
        """Draw `n` samples of every prompt in one batch."""
        running = []
        samples = Counter[tuple[int, ...]]()
        try:
            for ids, sampling in zip(prompts, samplings, strict=True):
                running.append(self._serving.generate(ids, sampling, n=n, first=samples[tuple(ids)]))
                samples[tuple(ids)] += n
            return [generation.completions() for generation in running]
        finally:
            for generation in running:
                generation.cancel()

    def _end_tokens(self, given: str | int | Sequence[str | int] | None) -> tuple[int, ...]:
        ends = [] if given is None else [given] if isinstance(given, str | int) else given
        return tuple(self._tokenizer.encode(end)[-1] if isinstance(end, str) else end for end in ends)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of tokens that two sequences have in common at the beginning."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
