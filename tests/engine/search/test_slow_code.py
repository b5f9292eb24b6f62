"""Slow values and answer rules: the same results, and only their own question waits."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from marcot.engine import AsyncEngine, Engine, Outcome, Progress, Sampling
from marcot.engine.errors import CallableError, InputError
from marcot.engine.scheduler import running_calls, search_driver
from marcot.engine.search import MCTS, Beam, BestOfN, Call, Judge, Rollout, SearchResult, Trace, Value
from marcot.engine.search.slow_code import is_slow, timeout_of
from marcot.engine.search.values import Mixture
from support.searches.held_nodes import check_nothing_is_left
from support.searches.toy_world import ToyWorld, hashed_draw

QUESTIONS = ["How many clips?", "小明有三个苹果，又买了五个？", "Natalia sold"]
LONG = 30.0
"""Seconds after which a test that should not wait fails."""

SHORT = 0.3
"""Timeout of code that hangs, long enough for code that does not on a busy machine."""


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)), kv_tokens=4096)


@pytest.fixture
def engine(loaded: Engine) -> Iterator[Engine]:
    yield loaded
    check_nothing_is_left(loaded)


def length(trace: Trace) -> float:
    return 1 / (1 + len(trace.logprobs))


class Marked:
    """A function with the given attributes."""

    def __init__(self, function: Callable[[Trace], Any] = length, **attributes: Any) -> None:
        self._function = function
        self.__dict__ |= attributes

    def __call__(self, trace: Trace) -> Any:
        return self._function(trace)


async def slowly(trace: Trace) -> float:
    await asyncio.sleep(0)
    return length(trace)


class Coroutine:
    async def __call__(self, trace: Trace) -> float:
        return await slowly(trace)


class Batching:
    """Rates many chains at once, and records the questions of each call."""

    def __init__(self, rate: Callable[[Trace], float] = length) -> None:
        self.calls: list[list[str]] = []
        self._rate = rate

    def batch(self, traces: Sequence[Trace]) -> list[float]:
        self.calls.append([trace.question for trace in traces])
        return [self._rate(trace) for trace in traces]


class AsyncBatching(Batching):
    async def batch(self, traces: Sequence[Trace]) -> list[float]:  # type: ignore[override]
        return [await slowly(trace) for trace in traces]


@dataclass(frozen=True)
class Together(Value):
    """A `Value` that rates all chains of a question together."""

    slow = True  # type: ignore[assignment]
    name = "together"  # type: ignore[assignment]

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        return [length(trace) for trace in traces]


class TogetherInBatches(Together):
    def batch(self, traces: Sequence[Trace]) -> list[float]:
        return self.rate(traces)


def in_thread(trace: Trace) -> float:
    assert threading.current_thread() is not threading.main_thread()
    return length(trace)


SLOW: dict[str, Any] = {
    "thread": Marked(in_thread, slow=True),
    "coroutine": slowly,
    "async-call": Coroutine(),
    "batch": Batching(),
    "async-batch": AsyncBatching(),
    "value": Together(),
    "value-batch": TogetherInBatches(),
    "mixture": Mixture(((0.25, Judge(slowly)), (0.5, Judge(Batching())), (0.25, Judge(length)))),
}
STRATEGIES = {
    "mcts": MCTS(rollouts=5, max_rollout_tokens=12, action="mini-step-3", vote_margin=0, value=length),
    "asynchronous": MCTS(
        rollouts=6, max_rollout_tokens=30, vote_margin=0, asynchronous=True, action="mini-step-3", value=length
    ),
    "beam": Beam(rollouts=4, max_rollout_tokens=12, action="mini-step-3", value=length),
}


def without_stats(results: list[SearchResult]) -> list[SearchResult]:
    return [replace(result, stats=None) for result in results]


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_slow_value_gives_the_results_of_a_fast_one(engine: Engine, strategy: Any) -> None:
    expected = without_stats(engine.search(QUESTIONS, strategy))
    for name, value in SLOW.items():
        slow = without_stats(engine.search(QUESTIONS, replace(strategy, value=value), concurrency=2))
        assert slow == expected, name


def test_others_go_on_while_one_waits(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question is rated only when all others have their results, and says what it waits for."""
    monkeypatch.setattr(search_driver, "PROGRESS_EVERY", 0.0)
    others_are_done = threading.Event()

    def verify(trace: Trace) -> float:
        assert trace.question != QUESTIONS[0] or others_are_done.wait(LONG)
        return length(trace)

    strategy = BestOfN(rollouts=2, max_rollout_tokens=12, value=Marked(verify, slow=True))
    outcomes: list[int] = []
    waited: set[str] = set()
    for event in engine.stream(QUESTIONS, strategy, concurrency=2):
        if isinstance(event, Progress):
            if event.index == 0:
                waited.add(event.waiting_for.rpartition(", ")[0])
            continue
        assert event.error is None
        outcomes.append(event.index)
        if len(outcomes) == len(QUESTIONS) - 1:
            others_are_done.set()
    assert outcomes[-1] == 0
    assert waited == {"", "value 'test_slow_code:Marked'"} or waited == {"", f"value '{__name__}:Marked'"}


def test_chains_of_one_question_are_verified_at_the_same_time(engine: Engine) -> None:
    meeting = threading.Barrier(3)

    def verify(trace: Trace) -> float:
        meeting.wait(LONG)
        return length(trace)

    strategy = BestOfN(rollouts=3, max_rollout_tokens=8, parallel=3, value=Marked(verify, slow=True))
    assert len(engine.search(QUESTIONS[0], strategy)[0].rollouts) == 3


def test_batches_hold_chains_of_several_questions(engine: Engine) -> None:
    value = Batching()
    strategy = BestOfN(
        rollouts=2, max_rollout_tokens=8, value=value, parallel=2, sampling=Sampling(seed=1, ignore_eos=True)
    )
    engine.search(QUESTIONS, strategy, concurrency=3)
    assert sum(map(len, value.calls)) == 6
    assert max(len(set(questions)) for questions in value.calls) > 1


def test_batches_that_arrive_meanwhile_wait_and_join() -> None:
    """One call at a time: chains that arrive during a call go into the next one."""
    began, may_end = threading.Event(), threading.Event()
    sizes: list[int] = []

    def rate(items: list[int]) -> list[int]:
        sizes.append(len(items))
        began.set()
        assert may_end.wait(LONG)
        return [-item for item in items]

    news: SimpleQueue[None] = SimpleQueue()
    calls = running_calls.RunningCalls(news)
    progress = Progress(0, 0, 0, 0, None, "")
    running = [calls.submit(Call(rate, [1, 2], "rate", progress, joins=True))]
    calls.start()
    assert began.wait(LONG)
    running += [calls.submit(Call(rate, [number], "rate", progress, joins=True)) for number in (3, 4, 5)]
    calls.start()
    assert not running[0].finished
    may_end.set()
    for _ in range(2):
        news.get(timeout=LONG)
    assert [each.results() for each in running] == [[-1, -2], [-3], [-4], [-5]]
    assert sizes == [2, 3]


def test_a_timeout_does_not_count_the_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_calls, "MAX_CALLS", 1)
    may_end = threading.Event()
    news: SimpleQueue[None] = SimpleQueue()
    calls = running_calls.RunningCalls(news)
    progress = Progress(0, 0, 0, 0, None, "")
    first = calls.submit(Call(lambda items: [may_end.wait(LONG) for _ in items], [1], "first", progress))
    second = calls.submit(Call(lambda items: items, [2], "second", progress, timeout=1e-9))
    calls.start()
    assert not second.finished
    may_end.set()
    for _ in range(2):
        news.get(timeout=LONG)
    assert (first.results(), second.results()) == ([True], [2])


@pytest.mark.parametrize("make", [lambda rate: Marked(rate, slow=True), Batching], ids=["thread", "batch"])
def test_an_error_is_that_of_its_question_alone(engine: Engine, make: Callable[..., Any]) -> None:
    def rate(trace: Trace) -> float:
        if trace.question == QUESTIONS[1]:
            raise RuntimeError("no good")
        return length(trace)

    strategy = BestOfN(rollouts=2, max_rollout_tokens=8, parallel=2, value=make(rate))
    outcomes = {each.index: each for each in engine.stream(QUESTIONS, strategy) if isinstance(each, Outcome)}
    assert [outcomes[index].error is None for index in range(3)] == [True, False, True]
    error = outcomes[1].error
    assert isinstance(error, CallableError)
    assert isinstance(error.__cause__, RuntimeError)
    assert "raised RuntimeError: no good (question: 小明" in str(error)
    assert str(error).startswith("value '")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Marked(lambda trace: 7, slow=True), "rated a chain 7: a value must be a number from 0 to 1"),
        (Marked(slow=True, batch=lambda traces: [0.5]), "returned 1 results for 2 chains"),
        (Marked(slow=True, batch=lambda traces: None), "raised TypeError"),
    ],
    ids=["range", "count", "none"],
)
def test_what_slow_code_returns_is_checked(engine: Engine, value: Any, message: str) -> None:
    with pytest.raises(CallableError, match=message):
        engine.search(QUESTIONS[0], BestOfN(rollouts=2, parallel=2, max_rollout_tokens=8, value=value))


def test_a_value_that_hangs_fails_at_its_timeout(engine: Engine) -> None:
    """Also with batches: the next batch begins even if one hangs."""
    never = threading.Event()
    hung: list[str] = []

    def hang(trace: Trace) -> float:
        if trace.question == QUESTIONS[0]:
            hung.append(trace.question)
            never.wait()
        return length(trace)

    for value in (Marked(hang, slow=True, timeout=SHORT), hanging_batch(hang)):
        strategy = BestOfN(rollouts=1, max_rollout_tokens=8, value=value)
        outcomes = {
            each.index: each.error
            for each in engine.stream(QUESTIONS, strategy, concurrency=1)
            if isinstance(each, Outcome)
        }
        assert [outcomes[index] is None for index in range(3)] == [False, True, True]
        assert f"has taken longer than its timeout of {SHORT} s (question: How many clips?)" in str(outcomes[0])
    assert len(hung) == 2
    never.set()


def hanging_batch(rate: Callable[[Trace], float]) -> Batching:
    value = Batching(rate)
    value.timeout = SHORT  # type: ignore[attr-defined]
    return value


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_stream_that_is_left_does_not_wait_for_slow_code(
    engine: Engine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_driver, "PROGRESS_EVERY", 0.0)
    has_begun, was_cancelled, never = threading.Event(), threading.Event(), threading.Event()

    def block(trace: Trace) -> float:
        has_begun.set()
        return float(never.wait())

    async def wait(trace: Trace) -> float:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise
        return 0.0

    value = Marked(block, slow=True) if kind == "thread" else wait
    stream = engine.stream(QUESTIONS[0], BestOfN(rollouts=1, max_rollout_tokens=8, value=value))
    for event in stream:
        assert isinstance(event, Progress)
        if has_begun.is_set():
            break
    stream.close()
    assert kind == "thread" or was_cancelled.wait(LONG)
    never.set()


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_answer_rules_can_be_slow(engine: Engine, kind: str) -> None:
    def shortest(rollouts: Sequence[Rollout], tree: object) -> Rollout:
        return min(rollouts, key=lambda rollout: rollout.tokens)

    async def awaited(rollouts: Sequence[Rollout], tree: object) -> Rollout:
        return shortest(rollouts, tree)

    def in_thread(rollouts: Sequence[Rollout], tree: object) -> Rollout:
        assert threading.current_thread() is not threading.main_thread()
        return shortest(rollouts, tree)

    in_thread.slow = True  # type: ignore[attr-defined]
    strategy = BestOfN(rollouts=4, max_rollout_tokens=12, answer_rule=shortest)
    slow = replace(strategy, answer_rule=in_thread if kind == "thread" else awaited)
    assert without_stats(engine.search(QUESTIONS, slow)) == without_stats(engine.search(QUESTIONS, strategy))
    with pytest.raises(InputError, match="convergence_window asks the answer rule after every chain"):
        replace(slow, convergence_window=2)


def test_an_async_engine_serves_others_meanwhile(loaded: Engine) -> None:
    generated = threading.Event()
    value = Marked(lambda trace: float(generated.wait(LONG)), slow=True)

    async def main() -> SearchResult:
        async with AsyncEngine(loaded) as engine:
            search = await engine.search(QUESTIONS[0], BestOfN(rollouts=1, max_rollout_tokens=8, value=value))
            async for progress in search:
                if progress.waiting_for:
                    break
            await (await engine.generate("How many", Sampling(max_tokens=5))).completions()
            generated.set()
            return await search.result()

    assert asyncio.run(asyncio.wait_for(main(), LONG)).value == 1.0


def test_what_makes_code_slow() -> None:
    assert [is_slow(each) for each in (length, Marked(), Marked(slow=False), Marked(slow=True))] == [0, 0, 0, 1]
    assert [is_slow(each) for each in (slowly, Coroutine(), Batching(), Marked(batch=len, slow=False))] == [1, 1, 1, 0]
    assert timeout_of(Marked(timeout=2)) == 2.0
    assert timeout_of(length) is None
    assert Mixture(((1.0, Judge(length)), (1.0, Judge(Marked(slow=True, timeout=2))))).timeout == 2.0
    assert Mixture(((1.0, Judge(slowly)), (1.0, Judge(Marked(slow=True, timeout=2))))).timeout is None
    for attributes, message in {
        ("slow", "yes"): "slow='yes': must be True or False",
        ("timeout", 0): "timeout=0",
    }.items():
        with pytest.raises(InputError, match=message):
            BestOfN(value=Marked(**dict([attributes])))


def test_nothing_is_called_in_a_thread_without_need() -> None:
    threads: dict[str, set[bool]] = defaultdict(set)

    def rate(trace: Trace) -> float:
        threads["fast"].add(threading.current_thread() is threading.main_thread())
        return length(trace)

    ToyWorld(hashed_draw()).run(
        BestOfN(
            rollouts=3,
            max_rollout_tokens=40,
            value=Marked(batch=lambda traces: [rate(each) for each in traces], slow=False),
        )
    )
    assert threads == {"fast": {True}}
