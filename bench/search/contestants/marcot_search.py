"""marcot, running the search itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from marcot.engine import MCTS, Outcome, Sampling
from marcot.model import Decoder

from ...common.prompt import PREFIX_TOKENS, random_ids
from ...peers.marcot_engine import Marcot
from ...peers.peer import TOP_K
from ..recorder import Recorder
from ..schedule import Schedule
from ..time_shares import TimeShares
from .searcher import Delivered, Searcher, Tally

_SAMPLING = Sampling(temperature=1.0, top_k=TOP_K, top_p=1.0)

KV_TOKENS: Final[int | None] = None
"""KV capacity: by default as many tokens as fit in a share of the memory."""

_DECODE_PASSES, _DECODE_ROUNDS = 16, 3
"""Forward passes of a round of the decode benchmark, as in `make bench-cpu`, and how many rounds count."""


class MarcotSearch(Marcot, Searcher):
    """marcot. Its search is what the schedules were recorded from, so it draws the same tokens again.

    All of the search is timed: the chat template, tokenisation, the tree, the texts and their answers.
    """

    def __init__(
        self, model: Path, threads: int, compute: str, questions: list[str], rollouts: int, rollout_tokens: int
    ) -> None:
        super().__init__(model, threads, compute)
        self._questions = questions
        self._strategy = MCTS(rollouts=rollouts, max_rollout_tokens=rollout_tokens, vote_margin=0, sampling=_SAMPLING)
        self._schedules: Sequence[Schedule] = ()

    def record(self) -> list[Schedule]:
        """Search all questions, and return the expansions of each."""
        self._engine = self._loaded(KV_TOKENS)
        recorder = Recorder(self._strategy)
        self._engine.search(self._questions, recorder, concurrency=len(self._questions))
        return [schedule for _, schedule in sorted(recorder.schedules.items())]

    def prepare(self, schedules: Sequence[Schedule]) -> None:
        self._engine = self._loaded(KV_TOKENS)
        self._schedules = schedules

    def search(self) -> Delivered:
        tally = Tally()
        results = self._engine.search(self._questions, self._strategy, concurrency=len(self._questions))
        for result, schedule in zip(results, self._schedules, strict=True):
            assert result.stats is not None
            assert result.stats.generated_tokens == schedule.drawn
            confidences = [each for node in result.tree for each in node.confidences if each is not None]
            tally.add(confidences)
            tally.add_bare(schedule.drawn - len(confidences))
        return tally.delivered()

    def time_shares(self) -> dict[str, float]:
        """Search all questions once more, and return the seconds that every part of the work took."""
        self._engine = self._loaded(KV_TOKENS)
        with TimeShares() as shares:
            self._engine.search(self._questions, shares.of_strategy(self._strategy), concurrency=len(self._questions))
        return shares.seconds

    def in_flight(self, questions: list[str], concurrency: int, seconds: float) -> dict[str, Any]:
        """Keep `concurrency` questions in flight, and count for `seconds` seconds from when the first has ended.

        By then they are at different points of their searches, and prompts are computed between the tokens of others.

        Returns:
            tokens_per_s: Tokens drawn per second.
            prompt_tokens_per_s: Tokens of prompts computed per second, in the same time.
            rows: Mean number of branches in a forward pass that draws.
            decode_tokens_per_s: What decoding that many branches of one prefix reaches, as in `make bench-cpu`.
        """
        self._engine = self._loaded(KV_TOKENS)
        with PassCounter() as counter:
            drawn, prompt, passes, wall = self._window(questions, concurrency, seconds, counter)
        self._engine = self._loaded(KV_TOKENS)
        return {
            "tokens_per_s": drawn / wall,
            "prompt_tokens_per_s": prompt / wall,
            "rows": drawn / passes,
            "decode_tokens_per_s": self._decode_speed(max(1, round(drawn / passes))),
        }

    def _window(
        self, questions: list[str], concurrency: int, seconds: float, counter: PassCounter
    ) -> tuple[int, int, int, float]:
        """Return tokens drawn, tokens of prompts, forward passes and seconds of a part of an endless run."""
        drawn: dict[int, int] = {}
        begin: tuple[int, int, int, float] | None = None
        endless = cycle(questions)
        with closing(self._engine.stream(endless, self._strategy, concurrency=concurrency)) as events:
            for event in events:
                if isinstance(event, Outcome):
                    assert event.result is not None
                    assert event.result.stats is not None
                    drawn[event.index] = event.result.stats.generated_tokens
                else:
                    drawn[event.index] = event.generated_tokens
                computed = self._engine.routines.prompt_tokens - self._engine.routines.cached_tokens
                now = (sum(drawn.values()), computed, counter.passes, time.perf_counter())
                if begin is None:
                    if isinstance(event, Outcome):
                        begin = now
                elif now[-1] - begin[-1] >= seconds and now[0] > begin[0]:
                    return now[0] - begin[0], now[1] - begin[1], now[2] - begin[2], now[3] - begin[3]
        raise AssertionError("the questions never end")

    def _decode_speed(self, rows: int) -> float:
        """Return tokens/s of `rows` branches of one prefix, the median of a few rounds."""
        self.fork(random_ids(PREFIX_TOKENS), rows)
        seconds = []
        for _ in range(1 + _DECODE_ROUNDS):
            self.start(_DECODE_PASSES)
            start = time.perf_counter()
            self.decode()
            seconds.append(time.perf_counter() - start)
        return rows * _DECODE_PASSES / sorted(seconds[1:])[_DECODE_ROUNDS // 2]


class PassCounter:
    """Context manager that counts the forward passes after which tokens are drawn.

    Attributes:
        passes: Their number.
    """

    def __init__(self) -> None:
        self.passes = 0

    def __enter__(self) -> PassCounter:
        self._forward = forward = Decoder.forward

        def counted(decoder: Decoder, step: Any, *more: Any) -> Any:  # noqa: ANN401  (whatever forward takes)
            self.passes += len(step.outputs) > 0
            return forward(decoder, step, *more)

        Decoder.forward = counted  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *failure: object) -> None:
        Decoder.forward = self._forward  # type: ignore[method-assign]
