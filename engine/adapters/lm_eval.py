"""marcot as a model of the LM evaluation harness: `lm_eval --model marcot --model_args pretrained=NAME`.

Requests with the same context share its K and V, so the context of a multiple-choice question is computed once;
everything else is batched continuously. Needs `pip install 'marcot[lm-eval]'`. For versions of the harness that ignore
entry points, run `python -m marcot.engine.adapters.lm_eval` with the arguments of `lm_eval`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from ..engine import Engine
from ..errors import InputError
from ..sampling.sampling import Sampling
from ..serving.async_engine import AsyncEngine

_OPEN_CONTEXTS = 64
"""How many contexts are open at a time: enough to fill a step even if they are short."""

_DEFAULT_TOKENS = 256
"""The harness's limit of new tokens for tasks that set none."""

_IGNORED = frozenset({"do_sample", "until", "max_gen_toks", "temperature", "num_beams"})
_SAMPLING = frozenset({"top_k", "top_p", "min_p", "repetition_penalty", "seed"})

Pair = tuple[tuple[str, str] | None, list[int], list[int]]
"""Context and continuation: the two texts (None for windows of one text), then the token ids of each."""

T = TypeVar("T")
R = TypeVar("R")


@register_model("marcot")
class MarcotLM(TemplateLM):  # type: ignore[misc]  # if the harness is not installed, its classes are Any
    """A marcot engine behind the harness's interface.

    Attributes:
        engine: The engine.
        max_length: Maximum tokens of a context and its continuation together; a longer context loses its beginning.
    """

    def __init__(
        self,
        pretrained: str | Engine,
        max_length: int | None = None,
        batch_size: object = None,
        max_batch_size: object = None,
        **options: Any,  # noqa: ANN401  (those of `Engine.load`)
    ) -> None:
        """Load a model.

        Args:
            pretrained: A name or path for `Engine.load`, or a loaded engine.
            max_length: See the class; at most the model's context length, which is the default.
            batch_size: Ignored: steps are always as large as possible.
            max_batch_size: Ignored.
            options: Options of `Engine.load`.

        Raises:
            MarcotError: The model cannot be loaded.
            InputError: The model has no tokenizer.
        """
        super().__init__()
        if options.get("device") in (None, "cuda:0"):  # the harness's default, with or without a GPU
            options["device"] = "auto"
        self.engine = pretrained if isinstance(pretrained, Engine) else Engine.load(pretrained, **options)
        if self.engine.tokenizer is None:
            raise InputError(f"{self.engine}: evaluation needs a tokenizer, and this checkpoint has none")
        self._tokenizer = self.engine.tokenizer
        self.max_length = min(max_length or self.engine.config.max_positions, self.engine.config.max_positions)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.engine.config.eos_token_ids[0]

    @property
    def prefix_token_id(self) -> int:
        """The token that stands in for an empty context."""
        first = self._tokenizer.bos_token_id
        return self.eot_token_id if first is None else first

    @property
    def tokenizer_name(self) -> str:
        """The name under which the harness stores results with a chat template."""
        return self.engine.settings.get("model", "marcot").replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: object) -> list[int]:
        """Token ids of `string`, after a BOS token if `add_special_tokens`; None does what the checkpoint asks for."""
        bos = self._tokenizer.adds_bos if add_special_tokens is None else add_special_tokens
        return self._tokenizer.encode(string, bos=bos)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The source of the checkpoint's chat template, by which the harness distinguishes results."""
        template = self._tokenizer.chat_template
        return template.source if chat_template and template is not None else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a conversation; without `add_generation_prompt` its last message is left open.

        Raises:
            ChatTemplateError: The model has no template, or the template fails.
        """
        if add_generation_prompt:
            return self._tokenizer.chat(chat_history)
        last = chat_history[-1]["content"]
        whole = self._tokenizer.chat(chat_history, add_generation_prompt=False)
        return whole[: whole.rindex(last) + len(last)]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each text; texts longer than `max_length` are cut into windows."""
        windows: list[list[Pair]] = [
            [
                (None, *make_disjoint_window(window))
                for window in get_rolling_token_windows(
                    self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, context_len=1
                )
            ]
            for request in requests
        ]
        scores = iter(self._loglikelihood_tokens([each for text in windows for each in text], disable_tqdm))
        totals = [sum(next(scores)[0] for _ in text) for text in windows]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continue each context up to one of its stop texts, which is not returned.

        Raises:
            InputError: A task asks for a sampling option that marcot does not have.
        """
        asked = [(context, *self._parse_sampling(wanted)) for context, wanted in (each.args for each in requests)]

        async def text(serving: AsyncEngine, each: tuple[str, Sampling, int]) -> str:
            context, sampling, room = each
            ids = self.tok_encode(context)[-room:]
            [drawn] = await (await serving.generate(ids, sampling)).completions()
            return drawn.text

        texts = self._run_all(text, asked, "generate_until", disable_tqdm)
        for request, drawn in zip(requests, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, drawn)
        return texts

    def _loglikelihood_tokens(
        self, requests: Sequence[Pair], disable_tqdm: bool = False, **kwargs: object
    ) -> list[tuple[float, bool]]:
        """For each pair, the log-probability of the continuation, and whether greedy decoding would produce it."""
        places: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, (_, context, continuation) in enumerate(requests):
            places[tuple(self._fitting(context, len(continuation)))].append(place)
        found: dict[int, tuple[float, bool]] = {}

        async def rate(serving: AsyncEngine, context: tuple[int, ...]) -> None:
            state = await serving.prefill(context)
            try:
                rated = await serving.score([requests[place][2] for place in places[context]], 1, after=state)
            finally:
                state.release()
            for place, score in zip(places[context], rated, strict=True):
                is_greedy = bool((score.top_ids[:, 0] == score.token_ids).all())
                found[place] = float(score.logprobs.sum(dtype="float64")), is_greedy

        self._run_all(rate, list(places), "loglikelihood", disable_tqdm)
        for place, (texts, _, _) in enumerate(requests):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, found[place])
        return [found[place] for place in range(len(requests))]

    def _fitting(self, context: list[int], following: int) -> list[int]:
        """The end of `context` that fits before `following` tokens; the model need not read the last of these."""
        room = self.max_length + 1 - following
        if room < 1:
            raise InputError(f"a continuation of {following} tokens is longer than {self.max_length}, the context")
        return context[-room:]

    def _parse_sampling(self, wanted: dict[str, Any]) -> tuple[Sampling, int]:
        """A task's sampling, and how many tokens of its context leave room for the tokens it draws."""
        options = normalize_gen_kwargs(wanted, _DEFAULT_TOKENS)
        unknown = options.keys() - _IGNORED - _SAMPLING
        if unknown or options.get("num_beams", 1) != 1:
            raise InputError(f"generation options {', '.join(sorted(unknown)) or 'num_beams'}: not supported by marcot")
        stop = options["until"] or []
        room = self.max_length - options["max_gen_toks"]
        if room < 1:
            raise InputError(
                f"max_gen_toks={options['max_gen_toks']}: leaves no room in a context of {self.max_length}"
            )
        sampling = Sampling(
            temperature=options.get("temperature", 0.0),
            max_tokens=options["max_gen_toks"],
            stop=tuple(text for text in ([stop] if isinstance(stop, str) else stop) if text),
            **{name: options[name] for name in _SAMPLING & options.keys()},
        )
        return sampling, room

    def _run_all(
        self,
        ask: Callable[[AsyncEngine, T], Awaitable[R]],
        asked: Sequence[T],
        what: str,
        disable_tqdm: bool,
    ) -> list[R]:
        """Call `ask` for each of `asked`, at most `_OPEN_CONTEXTS` at a time; return the answers in order."""

        async def run() -> list[R]:
            places = asyncio.Semaphore(_OPEN_CONTEXTS)
            with tqdm(total=len(asked), desc=f"marcot {what}", disable=disable_tqdm) as bar:

                async def answered(serving: AsyncEngine, each: T) -> R:
                    async with places:
                        answer = await ask(serving, each)
                    bar.update()
                    return answer

                async with AsyncEngine(self.engine) as serving, asyncio.TaskGroup() as group:
                    tasks = [group.create_task(answered(serving, each)) for each in asked]
            return [task.result() for task in tasks]

        try:
            return asyncio.run(run())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


def main(arguments: Iterable[str] | None = None) -> None:
    """Run the harness's own command with the model `marcot` registered."""
    import sys

    from lm_eval.__main__ import cli_evaluate

    if arguments is not None:
        sys.argv[1:] = arguments
    cli_evaluate()


if __name__ == "__main__":
    main()
