"""A schedule has every expansion of the recorded search, and a replay requests them in order."""

from __future__ import annotations

from itertools import count

import pytest
from marcot.engine import MCTS, Engine, Sampling

from bench.search.recorder import Recorder
from bench.search.schedule import Branch, Replay, Schedule, Start

FORKED = Schedule([7, 8, 9], [Branch(0, None, 0, 4), Branch(0, None, 0, 2), Branch(1, 0, 3, 5), Branch(2, 2, 6, 1)])
"""Two chains after the prompt; then one after three tokens of the first; then one after six tokens of that."""


def drawn_in_turn(schedules: list[Schedule]) -> list[tuple[Start, list[int]]]:
    """Replay schedules, with increasing numbers as tokens; return the requests, and the tokens drawn for them."""
    replay, numbers, found = Replay(schedules), count(1000), []
    waiting = replay.begin()
    while waiting:
        start = waiting.pop(0)
        drawn = [next(numbers) for _ in range(start.branch.tokens)]
        found.append((start, drawn))
        waiting += replay.finish(start, drawn)
    assert len(found) == sum(len(schedule.branches) for schedule in schedules)
    return found


def test_a_branch_continues_what_was_drawn_before() -> None:
    found = drawn_in_turn([FORKED])
    first, second, third, fourth = (drawn for _, drawn in found)
    prefixes = [start.prefix for start, _ in found]
    assert prefixes == [[7, 8, 9], [7, 8, 9], [7, 8, 9, *first[:3]], [7, 8, 9, *first[:3], *third[:3]]]
    assert [len(second), len(fourth)] == [2, 1]


def test_a_wave_waits_for_the_whole_wave_before() -> None:
    replay = Replay([FORKED, FORKED])
    asked = replay.begin()
    assert [(start.question, start.number) for start in asked] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert replay.finish(asked[1], [1, 2]) == []
    assert replay.finish(asked[2], [1, 2, 3, 4]) == []
    assert [(start.question, start.number) for start in replay.finish(asked[0], [1, 2, 3, 4])] == [(0, 2)]


def test_another_number_of_tokens_is_an_error() -> None:
    replay = Replay([FORKED])
    with pytest.raises(ValueError, match="3 tokens drawn, 4 scheduled"):
        replay.finish(replay.begin()[0], [1, 2, 3])


def test_a_model_without_a_cache_computes_every_prefix_again() -> None:
    computed = 0
    for start, drawn in drawn_in_turn([FORKED]):
        computed += sum(len(start.prefix) + already for already in range(len(drawn)))
    assert FORKED.whole_positions == computed


def test_what_json_makes_of_a_schedule_is_read_back() -> None:
    assert Schedule.of([[7, 8, 9], [[0, None, 0, 4], [1, 0, 3, 5]]]) == Schedule(
        [7, 8, 9], [Branch(0, None, 0, 4), Branch(1, 0, 3, 5)]
    )


def test_a_recorded_search_is_the_search(tiny_checkpoint) -> None:
    engine = Engine.load(tiny_checkpoint("qwen2", tokenizer=True), threads=1, kv_tokens=8192)
    strategy = MCTS(
        rollouts=7, max_rollout_tokens=40, vote_margin=0, action="mini-step-8", sampling=Sampling(temperature=1.0)
    )
    questions = ["How many?", "And how few?"]
    recorder = Recorder(strategy)
    recorded = engine.search(questions, recorder)
    plain = engine.search(questions, strategy)
    for index, (one, other) in enumerate(zip(recorded, plain, strict=True)):
        schedule = recorder.schedules[index]
        assert [rollout.text for rollout in one.rollouts] == [rollout.text for rollout in other.rollouts]
        assert schedule.drawn == other.stats.generated_tokens
        assert len(schedule.branches) == 7
        assert any(branch.parent is not None for branch in schedule.branches), "nothing was forked in the middle"
        chains = {len(start.prefix) + len(drawn) - len(schedule.prompt) for start, drawn in drawn_in_turn([schedule])}
        assert chains == {rollout.tokens for rollout in one.rollouts}
