"""The public API: `Engine.load` a model, then `prefill`, `expand`, `score` and `search`.

All nodes share one KV tree (`engine.tree`), so a common prefix is computed only once.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import date as Date
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Never, Self, TypeVar, Unpack, overload

import torch

from ..kernels import Compute, KVScales, select
from ..model import (
    PAGE_SIZE,
    Checkpoint,
    Decoder,
    KVCache,
    Message,
    ModelConfig,
    Tokenizer,
    decode_graphs,
    kv_scales,
    load_checkpoint,
)
from .checking import check_flag, check_integer, shown
from .errors import InputError
from .expansion import Expansion
from .kv.pool_size import check_kv_tokens, free_memory, pool_pages
from .kv.tree import KVTree
from .load_options import (
    check_compute,
    number_settings,
    parse_device,
    parse_dtype,
    parse_weights,
    resolve_compute,
    resolve_kv_dtype,
)
from .node import Node
from .outcome import Outcome
from .routines.routine import IDLE_S, Routine
from .routines.routines import Routines
from .sampling.sampling import Sampling
from .scheduler.expansion_batch import parse_expansion, parse_expansions
from .scheduler.limits import SchedulerLimits
from .scheduler.scheduler import Scheduler
from .scoring import Score
from .search.protocol import Progress, Searcher
from .search.question import Question, QuestionLike, one_or_many
from .search.result import SearchResult
from .search.rollout.instruction import AUTO
from .search.strategy import Strategy
from .stream import Stream
from .text.chat import chat_ids
from .text.token_codec import TokenCodec
from .turn import check_team
from .usage import Usage

if TYPE_CHECKING:
    from .results.outcome_tally import OutcomeTally
    from .results.question_run import RunOptions

E = TypeVar("E")
T = TypeVar("T")

MAX_THREADS = 1024
"""Maximum CPU threads: OpenMP starts this many without trouble, but several thousand crash the process."""


class Engine:
    """A model with its KV tree.

    Only one thread may use it at a time, in the process that loaded it. A call while another thread is inside a call
    raises an `EngineBusyError`; a call in a forked process raises a `ForkedEngineError`. Between two events of a
    `stream`, the engine is free.

    Attributes:
        config: The model's shape.
        compute: The compute mode, `"exact"` or `"fast"`.
        deterministic: Whether the engine is batch-invariant: a branch has the same bits whatever else is in the batch.
        tokenizer: The model's tokenizer, or None for a checkpoint without one (token ids still work).
        settings: The load options that results depend on, by their names in result files; empty unless made by `load`.
        usage: Counts of all work since loading.
        tree: The KV tree.
        routines: All kinds of work as generators, for servers and adapters that interleave them.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer | None,
        kv_tokens: int | None = None,
        limits: SchedulerLimits | None = None,
        graphs: bool = True,
        scales: Sequence[KVScales] | None = None,
    ) -> None:
        """Build an engine from a loaded decoder; usually you call `Engine.load` instead.

        Args:
            decoder: The model.
            tokenizer: Its tokenizer, if it has one.
            kv_tokens: Size of the KV pool in tokens; by default as many as fit in a share of the memory.
            limits: Sizes of steps and rounds; by default those that suit the device.
            graphs: Whether to run decode steps as CUDA graphs where possible.
            scales: One per layer (see `kv_scales`) to store K and V in fp8; by default they are stored as computed.

        Raises:
            InputError: `kv_tokens` is less than a page, or more than the memory holds.
        """
        dtype = decoder.dtype if scales is None else decoder.kernels.fp8_dtype
        assert dtype is not None, "scales need an op set with fp8 pages"
        pages = pool_pages(decoder, dtype, kv_tokens)
        self.config: ModelConfig = decoder.config
        self.compute: Compute = decoder.compute
        self._device = decoder.device
        self.deterministic = decoder.kernels.deterministic
        self.tokenizer = tokenizer
        self.settings: Mapping[str, str] = {}
        self.usage = Usage()
        try:
            self.tree = KVTree(pages)
            cache = KVCache(decoder.config, pages, dtype, decoder.device, scales)
        except (MemoryError, RuntimeError) as error:  # a limit of the process, or other programs have taken it
            raise InputError(f"kv_tokens={pages * PAGE_SIZE}: there is not enough memory: ask for fewer") from error
        limits = limits or SchedulerLimits.of(decoder, free_memory(decoder.device))
        recorded = decode_graphs(decoder, cache, limits.requests) if graphs else None
        self._scheduler = Scheduler(decoder, cache, self.tree, tokenizer, limits, recorded)
        codec = TokenCodec(tokenizer, decoder.config.vocab_size)
        self.routines = Routines(self._scheduler, self.tree, codec, self.usage, decoder.config.max_positions)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: str = "auto",
        compute: str = "auto",
        weights: str = "stored",
        threads: int | None = None,
        kv_tokens: int | None = None,
        kv_dtype: str = "auto",
        deterministic: bool = False,
        graphs: bool = True,
    ) -> Self:
        """Load a model by name.

        Args:
            model: A checkpoint folder, a `.gguf` file, a hub id such as `"Qwen/Qwen2.5-0.5B-Instruct"` (perhaps with
                `@revision` or `:file.gguf` after it), or a built-in name (`marcot models` lists them).
            device: `"cpu"`, `"cuda"`, or `"auto"` for a GPU if there is one.
            dtype: `"float32"`, `"bfloat16"`, `"float16"`, or `"auto"`: fp32 on the CPU, bf16 on a GPU.
            compute: `"exact"`: fp32 throughout. `"fast"`: rounds activations to int8 where weights are quantised.
                `"auto"`: fast where that is faster, else exact.
            weights: Storage format of matrices: `"stored"` as in the checkpoint, or with dense ones rounded to
                `"bf16"`, `"int8"` or `"int4"`.
            threads: CPU threads; all cores by default.
            kv_tokens: Size of the KV pool in tokens; by default as many as fit in a quarter of the machine's memory (or
                in most of a GPU's free memory), at most 131,072.
            kv_dtype: Storage format of K and V: `"auto"` as computed, or `"fp8"`: 8 bits, with a scale per layer and
                head, so that twice as many tokens fit as with 16 bits. The CPU kernels have no fp8.
            deterministic: Whether the engine must be batch-invariant: a branch has the same bits whatever else is in
                the batch. The CPU always is. A GPU then cuts attention at fixed places and does not use cuBLAS, which
                is slower.
            graphs: On a GPU, whether a decode step is launched as one CUDA graph instead of kernel by kernel.

        Raises:
            ModelNotFoundError: There is no such model.
            CheckpointError: Its files are damaged or of an unsupported kind.
            BlockFormatError: Its matrices cannot be rounded to `weights`.
            InputError: An argument is invalid on this machine.
            KernelsUnavailableError: The op set of this machine does not support the arguments.
            NonFiniteError: A weight is infinite or NaN, or overflows in its storage format.
            ForkedEngineError: The process is a fork in which several threads do not work.
        """
        if not isinstance(model, str | os.PathLike):
            raise InputError(f"model={model!r:.100}: must be the name of a model or the path of a checkpoint")
        model = os.fspath(model)
        if kv_tokens is not None:
            kv_tokens = check_kv_tokens(kv_tokens)
        deterministic, graphs = check_flag("deterministic", deterministic), check_flag("graphs", graphs)
        if threads is not None:
            threads = check_integer("threads", threads, "at least 1", least=1)
            if threads > MAX_THREADS:
                raise InputError(
                    f"threads={shown(threads)}: must be at most {MAX_THREADS}; there are {os.cpu_count()} cores"
                )
            torch.set_num_threads(threads)
        check_team(torch.get_num_threads())
        torch_device = parse_device(device)
        torch_dtype = parse_dtype(dtype, torch_device)
        check_compute(compute)
        weight_format = parse_weights(weights)
        checkpoint: Checkpoint = load_checkpoint(model)
        kernels = select(torch_device, torch_dtype, deterministic)
        fp8 = resolve_kv_dtype(kv_dtype, kernels)
        mode = resolve_compute(compute, checkpoint, weight_format, kernels)
        with ThreadPoolExecutor(1) as worker:  # packing weights releases the interpreter's lock
            tokenizer = worker.submit(checkpoint.tokenizer)
            fingerprint = worker.submit(checkpoint.fingerprint)
            decoder = Decoder(checkpoint, kernels, torch_dtype, torch_device, mode, weight_format)
            scales = None if fp8 is None else kv_scales(checkpoint, weight_format, fp8, torch_device)
            engine = cls(decoder, tokenizer.result(), kv_tokens, graphs=graphs, scales=scales)
            numbers = number_settings(dtype, compute, weights, kv_dtype)
            engine.settings = {"model": model, **numbers, "checkpoint": fingerprint.result()}
        return engine

    @property
    def shows_date(self) -> bool:
        """Whether the chat template shows today's date."""
        template = self.tokenizer.chat_template if self.tokenizer else None
        return template is not None and template.shows_date

    @property
    def kv_pages(self) -> tuple[int, int]:
        """Pages of the KV cache: in use, and in total."""
        return self.tree.pool.in_use, self.tree.pool.capacity

    def __reduce__(self) -> Never:
        """Refuse to be copied or pickled: two engines would use the same pages."""
        raise TypeError("an Engine cannot be copied or pickled: load one in each process, or use ReplicaPool")

    def __repr__(self) -> str:
        name = Path(self.settings["model"]).name if self.settings else self.config.architecture
        used, size = (pages * PAGE_SIZE for pages in self.kv_pages)
        return f"Engine({name}, {self.compute}, {self._device}, {used:,} of {size:,} KV tokens in use)"

    # --- the tree ----------------------------------------------------------------------------------------------

    def prefill(self, prompt: str | Sequence[int], *, cache_salt: str | None = None) -> Node:
        """Compute K and V of a prompt and return its node; a prefix that is already cached is shared, not recomputed.

        Args:
            prompt: Text (special tokens in it are recognised) or token ids.
            cache_salt: Share cached prefixes only with prompts of the same salt, so that nobody can learn from response
                times what others have asked. Results do not depend on it.

        Raises:
            InputError: The prompt is empty, has ids outside the vocabulary, or is text for a model without a tokenizer.
            ContextOverflowError: It is longer than the model's context.
            PoolTooSmallError: It is larger than the KV pool.
            NonFiniteError: An activation or a logit is not finite.
        """
        return self._run(self.routines.prefill(prompt, cache_salt=cache_salt))

    @overload
    def expand(self, node: Node, n: int = 1, sampling: Sampling | None = None, *, first: int = 0) -> list[Node]: ...

    @overload
    def expand(self, node: Expansion) -> list[Node]: ...  # type: ignore[overload-overlap]  # it is also a tuple

    @overload
    def expand(
        self, node: Iterable[Node | Expansion], n: int = 1, sampling: Sampling | None = None, *, first: int = 0
    ) -> list[list[Node]]: ...

    def expand(
        self,
        node: Node | Expansion | Iterable[Node | Expansion],
        n: int = 1,
        sampling: Sampling | None = None,
        *,
        first: int = 0,
    ) -> list[Node] | list[list[Node]]:
        """Draw `n` continuations of a node, or of each of many nodes, all in one batch.

        The same call gives the same samples, whatever else is in the batch.

        Args:
            node: A node or an `Expansion`, or any number of them.
            n: Samples per node; an `Expansion` has its own.
            sampling: How to sample; `Sampling()` by default.
            first: Index of the first sample. Samples 0 to 3 differ from samples 4 to 7.

        Returns:
            One child per sample, or one list of children per node or expansion, in order. If the model has ended a node
            (its `finish_reason` is `"eos"`), its children have no tokens and the same finish reason, unless
            `sampling.ignore_eos` is set. You can still continue after it with `Node.append`.

        Raises:
            InputError: `node` is not a node of this engine, or another argument is invalid.
            ContextOverflowError: A node fills the model's context.
            PoolTooSmallError: A branch outgrows the KV pool.
            NonFiniteError: An activation or a logit is not finite.
        """
        expansions, is_one = parse_expansions(node, n, sampling, first)
        families = self._run(self.routines.expand(expansions))
        return families[0] if is_one else families

    def stream_text(self, node: Node, sampling: Sampling | None = None, *, first: int = 0) -> Stream[str | Node]:
        """Sample one continuation of a node and stream its text.

        Args:
            node: The node.
            sampling: How to sample; `Sampling()` by default.
            first: Index of the sample; the child is the one that `expand(node, 1, sampling, first=first)` returns.

        Yields:
            Parts of the text, which never end inside a character or inside a possible stop string; and finally the
            child, whose `text` is all parts together. Without a tokenizer, only the child.

        Raises:
            ContextOverflowError: The node fills the model's context.
            PoolTooSmallError: The branch outgrows the KV pool.
            NonFiniteError: An activation or a logit is not finite.
        """
        return self._streamed(self.routines.stream_text(parse_expansion(node, 1, sampling, first)))

    def score(
        self,
        sequences: str | Sequence[int] | Iterable[str | Sequence[int]],
        top_k: int = 5,
        *,
        after: Node | None = None,
        keep: bool = False,
        cache_salt: str | None = None,
    ) -> list[Score]:
        """Score given tokens: the raw log-probability of each, and the most probable tokens at its position.

        Args:
            sequences: Texts or sequences of token ids; a single one gives a list of one score.
            top_k: Columns of `Score.top_ids`, at most the whole vocabulary; up to 64 cost nothing extra.
            after: The node that each sequence continues. It is computed once, if it is not cached, however many
                sequences follow it. By default, nothing precedes the sequences.
            keep: Whether K and V of the sequences stay in the cache, so that they can be continued.
            cache_salt: See `prefill`; not with `after`, which has that of its prompt.

        Raises:
            InputError: A sequence is empty or not in the vocabulary, or another argument makes no sense.
            ContextOverflowError: A sequence is longer than the model's context.
            PoolTooSmallError: A sequence is larger than the KV pool.
            NonFiniteError: An activation or a logit is not finite.
        """
        return self._run(self.routines.score(sequences, top_k, after, keep=keep, cache_salt=cache_salt))

    # --- searching ---------------------------------------------------------------------------------------------

    def search(
        self,
        questions: QuestionLike | Iterable[QuestionLike],
        strategy: Searcher,
        *,
        system: str | None = None,
        instruction: str | None = AUTO,
        concurrency: int = 8,
        date: Date | None = None,
    ) -> list[SearchResult]:
        """Search every question and return the results in the order of the questions; see `stream`.

        Raises:
            MarcotError: The error of the first question that failed; use `stream` to go on past it.
        """
        asked = [Question.of(question) for question in one_or_many(questions)]
        results: dict[int, SearchResult] = {}
        stream = self.stream(
            asked, strategy, system=system, instruction=instruction, concurrency=concurrency, date=date
        )
        with self.tree.turn, closing(stream) as events:
            for event in events:
                if isinstance(event, Outcome):
                    if event.result is None:
                        raise event.error or InputError(f"question {event.index + 1} has no result")
                    results[event.index] = event.result
        return [results[index] for index in range(len(asked))]

    def stream(
        self,
        questions: QuestionLike | Iterable[QuestionLike],
        strategy: Searcher,
        *,
        system: str | None = None,
        instruction: str | None = AUTO,
        concurrency: int = 8,
        date: Date | None = None,
    ) -> Stream[Progress | Outcome]:
        r"""Search any number of questions in bounded memory.

        Args:
            questions: One or many of: a text, a `Question` with its right answer, or an object with both as in a
                .jsonl file. They are taken one by one as places become free; if the iterator raises an error, the open
                questions are finished first.
            strategy: Such as `MCTS(rollouts=16)`.
            system: System message; the chat template's default if None.
            instruction: The text to add to each question, after an empty line; None for nothing. The default asks the
                model to reason step by step and to box the answer. It is not added if the checkpoint's template or
                `system` mentions reasoning, if there is no template, if the strategy's `answer_from` is not `"auto"`,
                or if the question itself says where the answer goes (`\boxed`, `<Output>`, `####`).
            concurrency: Maximum questions searched at a time; their branches share every forward pass.
            date: The date that the chat template shows as today's for all questions (with 00:00 as the time); by
                default the day on which the first question is asked.

        Yields:
            `Progress` after each wave of a search, with the counts of the whole call (`total` if `questions` has a
            length), and one `Outcome` per question when it ends. If a question fails, even in your own code
            (`CallableError`), its outcome is the error; the others go on.

        Raises:
            InputError: An argument is invalid.
        """
        searches = self.routines.searches(
            questions,
            strategy,
            system=system,
            instruction=instruction,
            concurrency=concurrency,
            date=date,
        )
        return self._streamed(searches)

    def run(
        self,
        questions: Path | Iterable[QuestionLike],
        strategy: Strategy,
        **options: Unpack[RunOptions],
    ) -> OutcomeTally:
        """Search a file or an iterable of questions, with results on disk; see `run_questions`."""
        from .results.question_run import run_questions

        return run_questions(self, questions, strategy, **options)

    def chat_ids(self, chat: str | Sequence[Message], system: str | None = None, date: Date | None = None) -> list[int]:
        """Token ids of a question or a conversation in the checkpoint's chat format, ready for `prefill`.

        Args:
            chat: A question, or messages such as `{"role": "user", "content": "..."}`, oldest first. Without a chat
                template, a question is plain text.
            system: System message; the chat template's default if None.
            date: The date that the chat template shows as today's, with 00:00 as the time; by default the current time.

        Raises:
            InputError: The checkpoint has no tokenizer, or `chat` is not a conversation.
            ChatTemplateError: The template refuses the messages, or a conversation has no template.
        """
        return chat_ids(self.tokenizer, chat, system, date)

    # --- internals ---------------------------------------------------------------------------------------------

    def _run(self, routine: Routine[Never, T]) -> T:
        """Run a routine to its end."""
        with self.tree.turn, closing(routine):
            while True:
                try:
                    next(routine)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                self._scheduler.step()

    def _streamed(self, routine: Routine[E, object]) -> Stream[E]:
        """Run a routine as a stream of its events; it advances when the caller takes the next event."""

        def events() -> Generator[E]:
            with closing(routine):
                for event in routine:
                    if event is not None:
                        yield event
                    elif not self._scheduler.idle:
                        self._scheduler.step()
                    else:
                        with suppress(Empty):
                            self.routines.news.get(timeout=IDLE_S)

        return Stream(self.tree.turn, events())
