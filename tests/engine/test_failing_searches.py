"""A question that fails does not disturb the others and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Beam, Engine, InputError, Outcome, Question, Sampling, SearchResult, Strategy
from marcot.engine.errors import CallableError, PoolTooSmallError
from marcot.engine.expansion import Expansion
from marcot.engine.search import STRATEGIES, Action, Step, Task, Trace
from marcot.engine.search.protocol import Progress, Wave
from support.searches.held_nodes import check_nothing_is_left
from support.searches.search_invariants import SMALL

GOOD, BAD = "How many clips?", "How many bad clips?"
QUESTIONS = [GOOD, BAD, "How many clips in May?", BAD, "小明有三个苹果？"]
EACH = pytest.mark.parametrize("name", STRATEGIES)


@pytest.fixture(scope="module")
def shared(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)), kv_tokens=8192)


@pytest.fixture
def engine(shared: Engine) -> Iterator[Engine]:
    yield shared
    check_nothing_is_left(shared)


def value(chain: Trace) -> float:
    if chain.question == BAD:
        raise ZeroDivisionError("no clips")
    return 0.5


def quick(name: str = "mcts", **options: Any) -> Any:
    return STRATEGIES[name](
        **SMALL.get(name, {}) | {"rollouts": 4, "max_rollout_tokens": 12, "action": "mini-step-3"} | options
    )


def outcomes(engine: Engine, strategy: Strategy, questions: Any = QUESTIONS, **options: Any) -> list[Outcome]:
    events = engine.stream(questions, strategy, **{"concurrency": 3} | options)
    return sorted((event for event in events if isinstance(event, Outcome)), key=lambda outcome: outcome.index)


def plain(result: SearchResult | None) -> SearchResult:
    assert result is not None
    return replace(result, stats=None)


@EACH
def test_the_others_go_on(engine: Engine, name: str) -> None:
    found = outcomes(engine, quick(name, value=value))
    assert [outcome.question for outcome in found] == QUESTIONS
    check_nothing_is_left(engine)  # outcomes and errors hold no nodes of the engine
    for outcome in found:
        if outcome.question == BAD:
            assert outcome.result is None
            assert isinstance(outcome.error, CallableError)
            message = f"value '{__name__}:value' raised ZeroDivisionError: no clips (question: {BAD})"
            assert str(outcome.error) == message
            assert isinstance(outcome.error.__cause__, ZeroDivisionError)
            assert outcome.error.exit_code == 2
        else:
            assert outcome.error is None
            [alone] = engine.search(outcome.question, quick(name, value=lambda chain: 0.5))
            assert plain(outcome.result) == plain(alone)


def test_search_raises_the_first(engine: Engine) -> None:
    with pytest.raises(CallableError, match=r"no clips \(question: How many bad clips\?\)"):
        engine.search(QUESTIONS, quick(value=value))
    check_nothing_is_left(engine)


class Cuts(Action):
    name = "cuts"

    def cut(self, token_ids: Any, decode: Any, confidences: Any) -> list[int]:
        return [2, 1, len(token_ids)]


class Endless:
    """A strategy that is not derived from ours: its search is whatever `steps` does."""

    name = "endless"

    def __init__(self, steps: Callable[[Task], Any]) -> None:
        self.search = steps


def wave(task: Task, *expansions: Any, **changes: Any) -> Wave:
    return Wave(list(expansions), Progress(task.index, 0, 0, 0, 0.0, ""))._replace(**changes)


def yields(*waves: Callable[[Task], Any], last: Any = None) -> Endless:
    def steps(task: Task) -> Any:
        for each in waves:
            yield each(task)
        return last

    return Endless(steps)


def some(task: Task, **changes: Any) -> Wave:
    return wave(task, Expansion(task.prompt, 2, Sampling(max_tokens=3)), **changes)


def deaf(task: Task) -> Any:
    """A generator that goes on when it is closed."""
    while True:
        try:
            yield some(task, expansions=[Expansion(task.prompt, 1, Sampling(max_tokens=10**4, ignore_eos=True))])
        finally:
            yield some(task)


WRONG: dict[str, tuple[Any, str]] = {
    "cut-out-of-order": (
        quick(action=Cuts()),
        "action Cuts.cut: [2, 1, 12] must be the ends of the actions of 12 tokens",
    ),
    "rule-that-returns-a-text": (quick(answer_rule=lambda rollouts, tree: "72"), "chose '72': must be one of"),
    "parser-that-returns-none": (quick(answer_from=lambda text: None), "found None: an answer must be a string"),
    "search-that-is-no-generator": (Endless(lambda task: 3), "strategy 'endless' raised TypeError: 'int'"),
    "search-that-returns-nothing": (yields(some), "strategy 'endless' returned None: must return a SearchResult"),
    "search-that-ends-at-once": (yields(last=3), "strategy 'endless' returned 3: must return a SearchResult"),
    "no-wave": (yields(lambda task: "wave"), "strategy 'endless' yielded 'wave': must be a Wave of expansions"),
    "no-progress": (yields(lambda task: some(task, progress=None)), "must be a Wave of expansions, with a Progress"),
    "no-expansions": (yields(lambda task: some(task, expansions=3)), "strategy 'endless' raised TypeError"),
    "no-deadline": (yields(some, lambda task: some(task, deadline="soon")), "deadline='soon': must be a time"),
    "n-of-0": (yields(some, lambda task: wave(task, Expansion(task.prompt, 0, Sampling()))), "n=0: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_search_is_its_outcome(engine: Engine, case: str) -> None:
    strategy, message = WRONG[case]
    found = outcomes(engine, strategy)
    assert len(found) == len(QUESTIONS)
    for outcome in found:
        assert isinstance(outcome.error, InputError)
        assert message in str(outcome.error)


def test_a_branch_that_fails_keeps_its_own_error(tiny_checkpoint: Callable[..., Path]) -> None:
    small = Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)), kv_tokens=128)
    found = outcomes(small, quick(max_rollout_tokens=400, sampling=Sampling(ignore_eos=True)), concurrency=1)
    assert {type(outcome.error) for outcome in found} == {PoolTooSmallError}
    assert {type(outcome.error) for outcome in outcomes(small, Endless(deaf), concurrency=1)} == {PoolTooSmallError}
    check_nothing_is_left(small)


@pytest.mark.parametrize("stopper", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_the_program_stops_the_stream(engine: Engine, stopper: type[BaseException]) -> None:
    def stops(chain: Trace) -> float:
        raise stopper

    with pytest.raises(stopper):
        outcomes(engine, quick(value=stops))
    check_nothing_is_left(engine)
    assert outcomes(engine, quick())[0].error is None


def broken_off(after: int) -> Iterator[str]:
    yield from QUESTIONS[:after]
    raise OSError("the file is gone")


@pytest.mark.parametrize("after", [0, 1, 4])
def test_questions_that_break_off_do_not_cost_those_that_are_open(engine: Engine, after: int) -> None:
    found: list[Outcome] = []

    def search() -> None:
        for event in engine.stream(broken_off(after), quick(), concurrency=2):
            if isinstance(event, Outcome):
                found.append(event)

    with pytest.raises(OSError, match="the file is gone"):
        search()
    assert sorted(outcome.index for outcome in found) == list(range(after))
    assert all(outcome.error is None for outcome in found)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("", "question 2 is empty"),
        (3, "question 3: must be a text, Question"),
        (None, "question None: must be"),
        (b"How?", "question b'How[?]': must be"),
        (["How?"], "must be a text"),
        (("How?", "4", "5"), "must be a text"),
        (Question(3, "4"), "must be a text"),  # type: ignore[arg-type]
        ({"text": "How?"}, "must be a text"),
        (Question("How?", ["4"]), "its answer .* must be a text or a number"),  # type: ignore[arg-type]
        (Question("How?", True), "its answer True must be"),  # type: ignore[arg-type]
        (Question("How?", float("nan")), "its answer nan must be"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_a_question_of_a_wrong_type_is_an_outcome(engine: Engine, asked: Any, message: str) -> None:
    first, second, third = outcomes(engine, quick(rollouts=1), [GOOD, asked, GOOD])
    assert isinstance(second.error, InputError)
    with pytest.raises(InputError, match=message):
        raise second.error
    assert isinstance(second.question, str)
    assert first.error is third.error is None
    with pytest.raises(InputError):
        engine.search([GOOD, asked], quick())


def test_a_value_may_ask_the_same_engine(engine: Engine) -> None:
    """While other questions are in flight, and also for a search of its own."""

    def asks(chain: Trace) -> float:
        [score] = engine.score([chain.question])
        with engine.prefill(chain.question) as node:
            [child] = engine.expand(node, 1, Sampling(max_tokens=2, seed=3))
            child.release()
        [result] = engine.search(chain.question, quick(rollouts=1, value=lambda inner: 0.25))
        return float(result.value + (score.logprobs[1] > -100) / 2)

    found = outcomes(engine, quick(value=asks))
    assert [outcome.error for outcome in found] == [None] * len(QUESTIONS)
    assert {rollout.value for outcome in found for rollout in plain(outcome.result).rollouts} == {0.75}


def test_an_error_of_a_search_within_a_search_names_both_questions(engine: Engine) -> None:
    def asks(chain: Trace) -> float:
        return engine.search(BAD, quick(value=value))[0].value

    with pytest.raises(
        CallableError, match=r"no clips \(question: How many bad clips\?\) \(question: How many clips\?\)"
    ):
        engine.search(GOOD, quick(value=asks))


def test_a_stream_is_given_up_in_the_middle(engine: Engine) -> None:
    with closing(engine.stream(QUESTIONS, Beam(beams=2, samples=2, action=Step()), concurrency=3)) as stream:
        next(stream)
    check_nothing_is_left(engine)
    stream.close()
    assert list(stream) == []
    next(engine.stream(QUESTIONS, MCTS()))
    check_nothing_is_left(engine)
