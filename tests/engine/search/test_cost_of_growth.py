"""A search's work for a rollout does not grow with the rollouts and nodes that it has."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from marcot.engine.search import MCTS, BestOfN, Strategy
from support.searches.toy_world import ToyWorld, hashed_draw

ROLLOUTS, PART = 600, 100
OPTIONS: dict[str, Any] = {"rollouts": ROLLOUTS, "max_rollout_tokens": 12, "parallel": 4, "action": "mini-step-3"}


@pytest.mark.parametrize(
    "strategy",
    [
        MCTS(**OPTIONS, vote_margin=ROLLOUTS),
        MCTS(**OPTIONS, vote_margin=ROLLOUTS, asynchronous=True),
        MCTS(**OPTIONS, vote_margin=0, width=1000),
        BestOfN(**OPTIONS | {"rollouts": 10 * ROLLOUTS}, answer_rule="majority", stop_decided=True),
        BestOfN(**OPTIONS, prune=0.2),
    ],
    ids=["mcts", "asynchronous", "one-parent", "stop-decided", "prune"],
)
def test_the_lines_that_run_for_a_rollout_do_not_grow(strategy: Strategy) -> None:
    """Every turn of a loop over nodes or rollouts counts as a line."""
    world = ToyWorld(hashed_draw(words=range(1, 11)))
    lines = 0
    seen: list[tuple[int, int]] = []

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count if "/engine/search/" in frame.f_code.co_filename else None

    search = strategy.search(world.task())
    flying: list[tuple[Any, int]] = []
    answers: Any = None
    while True:
        sys.settrace(count)
        try:
            wave: Any = search.send(answers) if answers is not None else next(search)
        except StopIteration:
            break
        finally:
            sys.settrace(None)
        seen.append((wave.progress.rollouts, lines))
        if wave.progress.rollouts >= ROLLOUTS:
            search.close()
            break
        flying = [(nodes, due + (wave.window or 0)) for nodes, due in flying]
        flying += [(world.expand(expansion), wave.window or world.context) for expansion in wave.expansions]
        answers = [nodes if all(node.has_ended(due) for node in nodes) else None for nodes, due in flying]
        flying = [each for each, answer in zip(flying, answers, strict=True) if answer is None]

    def lines_after(rollouts: int) -> int:
        return next(lines for counted, lines in seen if counted >= rollouts)

    early = lines_after(2 * PART) - lines_after(PART)
    late = lines_after(ROLLOUTS - 8) - lines_after(ROLLOUTS - 8 - PART)
    assert late < 1.25 * early
