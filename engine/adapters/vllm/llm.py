"""vLLM's `LLM`, served by a marcot engine."""

from __future__ import annotations

import itertools
import logging
import random
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.progress import Progress

from ....model import Message
from ...completion import Completion
from ...engine import Engine
from ...errors import ContextOverflowError, InputError
from ...sampling.sampling import Sampling
from ...serving.blocking_engine import BlockingEngine
from ...serving.blocking_request import BlockingGeneration
from ...text.terminal import Terminal
from ...usage import Usage
from .inputs import ParsedPrompt, Prompt, parse_prompts
from .loading import load_engine
from .outputs import LogprobRow, RequestOutput, completion_output, prompt_rows
from .sampling_params import SamplingParams, columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

_OPEN_PROMPTS = 1024
"""How many prompts of a call are open at a time: four times the number of branches that run at once."""

_SEED_BITS = 63


class _PromptRequest(NamedTuple):
    """A prompt of a call, and how to continue it."""

    prompt: str | None
    token_ids: tuple[int, ...]
    params: SamplingParams
    sampling: Sampling


class LLM:
    """A model that continues batches of prompts.

    Any number of threads may call it at once; their prompts then share batches. The K and V of all prompts and samples
    stay cached as long as there is room, so a prompt that repeats or extends an earlier one is not computed again.

    Attributes:
        engine: The engine; its `usage` counts the work.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Engine,
        *,
        tokenizer: str | PathLike[str] | None = None,
        dtype: str = "auto",
        seed: int | None = 0,
        max_model_len: int | None = None,
        revision: str | None = None,
        **options: Any,  # noqa: ANN401  (vLLM's, and those of `Engine.load`)
    ) -> None:
        """Load a model.

        Args:
            model: A name or path for `Engine.load`, or a loaded engine.
            tokenizer: None or the same as `model`.
            dtype: As in `Engine.load`; `"half"` and `"float"` are accepted too.
            seed: Seed of all draws whose `SamplingParams.seed` is None; None for a random one.
            max_model_len: Maximum tokens of a prompt and its continuation; the model's context by default.
            revision: Revision of a hub id.
            options: Options of `Engine.load`. vLLM's options about memory, batches and processes are ignored, others
                refused unless they are None.

        Raises:
            InputError: An option is refused.
            MarcotError: The model cannot be loaded.
        """
        if tokenizer is not None and tokenizer != model:
            raise InputError(f"tokenizer={tokenizer}: must be the model's own; leave it out")
        self.engine = engine = load_engine(model, dtype, revision, options)
        context = engine.config.max_positions
        self._max_model_len = context if max_model_len is None else min(max_model_len, context)
        self._seeds = random.Random(seed)
        self._numbers = itertools.count()
        self._tokenizer: PreTrainedTokenizerFast | None = None
        self._given = Counter[str]()
        # The limit on requests is for servers; here, every caller waits for its own requests.
        self._serving = BlockingEngine(engine, max_requests=2**31)
        weakref.finalize(self, _close, self._serving, self._given, engine.usage.copy())

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt] | None = None,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: object = True,
        *,
        prompt_token_ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        lora_request: None = None,
        priority: int | None = None,
    ) -> list[RequestOutput]:
        """Continue prompts.

        Args:
            prompts: A text, token ids, a `TextPrompt`, a `TokensPrompt`, or a list of them.
            sampling_params: For all prompts, or one for each; `SamplingParams()` by default.
            use_tqdm: Whether to show a progress bar, if stderr is a terminal.
            prompt_token_ids: Token ids instead of `prompts`.
            lora_request: Not supported; must be None.
            priority: Higher goes first among the calls of several threads.

        Returns:
            One output per prompt, in order.

        Raises:
            InputError: An argument is invalid.
            ContextOverflowError: A prompt leaves no room in the context.
        """
        if lora_request is not None:
            raise InputError("lora_request: marcot has no LoRA; merge the adapter into the model")
        asked = self._requests(parse_prompts(prompts, prompt_token_ids), sampling_params)
        rows = self._prompt_logprobs(asked)
        drawn, cached = self._drawn(asked, bool(use_tqdm), priority or 0)
        return [
            RequestOutput(
                str(next(self._numbers)),
                request.prompt,
                list(request.token_ids),
                rows.get(at),
                [
                    completion_output(index, each, request.params, self.engine.tokenizer)
                    for index, each in enumerate(drawn[at])
                ],
                num_cached_tokens=cached[at],
            )
            for at, request in enumerate(asked)
        ]

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: object = True,
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Continue a conversation or a list of them; see `generate` and transformers' `apply_chat_template`."""
        conversations = [messages] if messages and isinstance(messages[0], Mapping) else list(messages)
        render: Callable[..., Any] = self.get_tokenizer().apply_chat_template
        texts = [
            render(
                conversation,
                tokenize=False,
                chat_template=chat_template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                **(chat_template_kwargs or {}),
            )
            for conversation in conversations
        ]
        return self.generate(texts, sampling_params, use_tqdm)

    def get_tokenizer(self) -> PreTrainedTokenizerFast:
        """The engine's tokenizer with transformers' interface; the same object every time.

        Raises:
            InputError: The checkpoint has no tokenizer, or transformers is not installed.
        """
        if self._tokenizer is None:
            self._tokenizer = self._wrapped_tokenizer()
        return self._tokenizer

    def _wrapped_tokenizer(self) -> PreTrainedTokenizerFast:
        own = self.engine.tokenizer
        if own is None:
            raise InputError("this checkpoint has no tokenizer: pass token ids instead of texts")
        try:
            from transformers import PreTrainedTokenizerFast
        except ImportError as error:
            raise InputError("get_tokenizer and chat need transformers: pip install transformers") from error
        end = own.token(self.engine.config.eos_token_ids[0])
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=own.backend,
            eos_token=end,
            pad_token=end,
            bos_token=None if own.bos_token_id is None else own.token(own.bos_token_id),
            clean_up_tokenization_spaces=False,
            model_max_length=self._max_model_len,
        )
        wrapped.chat_template = None if own.chat_template is None else own.chat_template.source
        return wrapped

    def _requests(
        self,
        prompts: Sequence[ParsedPrompt],
        params: SamplingParams | Sequence[SamplingParams] | None,
    ) -> list[_PromptRequest]:
        """Encode and check the prompts of a call."""
        each = list(params) if isinstance(params, Sequence) else [params or SamplingParams()] * len(prompts)
        if len(each) != len(prompts):
            raise InputError(f"{len(each)} sampling_params for {len(prompts)} prompts: pass one, or one for each")
        seed = self._seeds.getrandbits(_SEED_BITS)
        return [self._request(prompt, params, seed) for prompt, params in zip(prompts, each, strict=True)]

    def _request(self, prompt: ParsedPrompt, params: SamplingParams, seed: int) -> _PromptRequest:
        given = prompt.text if prompt.token_ids is None else prompt.token_ids
        assert given is not None, "one of them is there"
        ids = self.engine.routines.codec.encode(given, bos=True)
        if params.truncate_prompt_tokens is not None:
            ids = ids[-params.truncate_prompt_tokens :]
        room = self._max_model_len - len(ids)
        if room < 1:
            raise ContextOverflowError(f"a prompt of {len(ids)} tokens leaves no room in {self._max_model_len} tokens")
        sampling = params.sampling(room, self.engine.config.vocab_size)
        sampling = replace(
            sampling,
            max_tokens=min(sampling.max_tokens, room),
            seed=seed if sampling.seed is None else sampling.seed,
        )
        return _PromptRequest(prompt.text, tuple(ids), params, sampling)

    def _prompt_logprobs(self, asked: Sequence[_PromptRequest]) -> dict[int, list[LogprobRow | None]]:
        """The rows of `RequestOutput.prompt_logprobs` for the prompts that ask for them, by their numbers.

        The K and V stay cached, so the prompts are not computed again for their continuations.
        """
        places: dict[int, dict[tuple[int, ...], list[int]]] = {}
        for at, request in enumerate(asked):
            if request.params.prompt_logprobs is not None:
                equal = places.setdefault(request.params.prompt_logprobs, {})
                equal.setdefault(request.token_ids, []).append(at)
        rows: dict[int, list[LogprobRow | None]] = {}
        for wanted, equal in places.items():
            top = columns("prompt_logprobs", wanted, self.engine.config.vocab_size)
            for score, members in zip(self._serving.score(list(equal), top, keep=True), equal.values(), strict=True):
                rows |= {at: prompt_rows(score, wanted, self.engine.tokenizer) for at in members}
        return rows

    def _drawn(
        self, asked: Sequence[_PromptRequest], progress: bool, priority: int
    ) -> tuple[list[list[Completion]], list[int]]:
        """Draw the samples of every request; returns them, and how many tokens of each prompt were cached."""
        equal: dict[tuple[tuple[int, ...], Sampling], list[int]] = {}
        for at, request in enumerate(asked):
            equal.setdefault((request.token_ids, request.sampling), []).append(at)
        groups = list(equal.items())
        first = Counter[tuple[int, ...]]()
        running: dict[int, BlockingGeneration] = {}
        drawn: list[list[Completion]] = [[] for _ in asked]
        cached = [len(request.token_ids) for request in asked]

        def start(group: int) -> None:
            (ids, sampling), members = groups[group]
            n = sum(asked[at].params.n for at in members)
            running[group] = self._serving.generate(ids, sampling, n=n, first=first[ids], priority=priority)
            first[ids] += n

        try:
            for group in range(min(len(groups), _OPEN_PROMPTS)):
                start(group)
            console = Terminal(stderr=True)
            hidden = not (progress and console.is_terminal)
            with Progress(console=console, redirect_stdout=False, redirect_stderr=False, disable=hidden) as bar:
                for group in bar.track(range(len(groups)), description="Prompts"):
                    generation = running[group]
                    samples = iter(generation.completions())
                    del running[group]
                    if group + _OPEN_PROMPTS < len(groups):
                        start(group + _OPEN_PROMPTS)
                    members = groups[group][1]
                    cached[members[0]] = generation.cached_tokens
                    for at in members:
                        drawn[at] = list(itertools.islice(samples, asked[at].params.n))
        finally:
            for generation in running.values():
                generation.cancel()
        self._given["tokens"] += sum(len(request.token_ids) for request in asked)
        return drawn, cached


def _close(serving: BlockingEngine, given: Counter[str], before: Usage) -> None:
    """Give the engine back, and report how many of the `given` prompt tokens were shared."""
    serving.close()
    usage, tokens = serving.engine.usage.since(before), given["tokens"]
    if tokens:
        logger.info(
            "%s prompt tokens, %s of them computed (%.0f %% shared or cached); %s tokens drawn",
            f"{tokens:,}",
            f"{usage.prefill_tokens:,}",
            100 * max(1 - usage.prefill_tokens / tokens, 0),
            f"{usage.generated_tokens:,}",
        )
