"""Every strategy against its textbook implementation in random worlds: everything is equal to the last bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from marcot.engine.search import STRATEGIES, SearchResult
from support.searches.toy_world import ToyWorld, hashed_draw
from textbook.beam import beam
from textbook.best_of_n import best_of_n
from textbook.dvts import dvts
from textbook.greedy import greedy
from textbook.mcts import mcts
from textbook.model import Model, last_number, text_of
from textbook.rebase import rebase
from textbook.search import Limits, Search
from textbook.self_consistency import self_consistency
from textbook.votes import chosen

WORLDS = 100
QUESTION = "six plus two?"
ACTIONS = ("step", "token", "mini-step-2", "mini-step-5")
RULES = ("confidence-vote", "majority", "best-rollout", "best-value", "most-visits")


class Case(NamedTuple):
    """A strategy, its textbook implementation, and random values of the options that only it has."""

    name: str
    textbook: Callable[..., None]
    own: Callable[[random.Random], dict[str, Any]]
    waves: bool


CASES = {
    "greedy": Case("greedy", greedy, lambda dice: {}, True),
    "best-of-n": Case("best-of-n", best_of_n, lambda dice: {}, True),
    "self-consistency": Case("self-consistency", self_consistency, lambda dice: {}, False),
    "beam": Case("beam", beam, lambda dice: {"beams": dice.randint(1, 4), "samples": dice.randint(1, 4)}, True),
    "dvts": Case("dvts", dvts, lambda dice: {"subtrees": dice.randint(1, 4), "samples": dice.randint(1, 4)}, True),
    "rebase": Case(
        "rebase",
        rebase,
        lambda dice: {"samples": dice.randint(1, 12), "balance": dice.choice([0.02, 0.1, 1.0, 50.0])},
        True,
    ),
    "mcts": Case(
        "mcts",
        mcts,
        lambda dice: {
            "width": dice.randint(1, 3),
            "exploration": dice.choice([0.0, 0.1, 0.3, 1.414]),
            "greedy_first": dice.random() < 0.5,
            "asynchronous": dice.random() < 0.5,
        },
        True,
    ),
}


class Report(NamedTuple):
    """Everything that a search reports."""

    nodes: list[tuple[int | None, tuple[int, ...], int, float | None]]
    rollouts: list[tuple[str, int, float, str, str, int, int]]
    chosen: tuple[str, str, float]
    best_path: list[int]
    generated: int


def by_engine(result: SearchResult, generated: int) -> Report:
    return Report(
        [(node.parent, node.token_ids, node.visits, node.value) for node in result.tree],
        [
            (each.text, each.tokens, each.value, each.answer, each.finish_reason, each.leaf, each.spent)
            for each in result.rollouts
        ],
        (result.answer, result.text, result.value),
        list(result.best_path),
        generated,
    )


def by_textbook(search: Search, rule: str) -> Report:
    search.close()
    ids = {state: id for id, state in enumerate(search.states)}
    best = chosen(rule, search.endings, search.root)
    return Report(
        [
            (
                ids[state.parent] if state.parent else None,
                state.own_tokens,
                state.visits,
                state.total / state.visits if state.visits else state.rating,
            )
            for state in search.states
        ],
        [
            (
                text_of(end.state.tokens),
                len(end.state.tokens),
                end.value,
                end.answer,
                end.finish_reason,
                ids[end.state],
                end.spent,
            )
            for end in search.endings
        ],
        (best.answer, text_of(best.state.tokens), best.value),
        [ids[state] for state in best.state.path],
        search.model.drawn,
    )


def both(case: Case, seed: int, parallel: int, budget: str) -> tuple[Report, Report]:
    """The same search of the same random world, by the engine and by the textbook."""
    dice = random.Random(f"{case.name}-{seed}-{parallel}-{budget}")
    draw = hashed_draw(
        eos_odds=dice.choice([0.05, 0.15]),
        seed=seed,
        words=dice.choice([range(1, 11), (1, 7, 9), (2, 8, 7, 9, 10)]),
        levels=dice.choice([3, 256]),
    )
    rollouts = (
        1
        if case.name == "greedy"
        else dice.randint(1, 48 if case.name == "mcts" else 16)
        if budget == "rollouts"
        else None
    )
    action, rule, own = dice.choice(ACTIONS), dice.choice(RULES), case.own(dice)
    margin = dice.choice([0, 0, 1, 2, 4])
    limits = Limits(
        rollouts,
        tokens=dice.randint(1, 120) * (3 if own.get("asynchronous") else 1) if budget == "tokens" else None,
        chain=dice.randint(10, 60) if own.get("asynchronous") else dice.randint(4, 14),
        depth=dice.choice([2, 5, 64]),
        parallel=parallel,
        vote_margin=margin if rule in ("majority", "confidence-vote") else 0,
    )
    world = ToyWorld(draw)
    options: dict[str, Any] = {
        "action": action,
        "answer_rule": rule,
        "answer_from": last_number,
        "rollouts": rollouts,
        "max_tokens": limits.tokens,
        "max_rollout_tokens": limits.chain,
        "max_depth": limits.depth,
        "parallel": parallel,
        "vote_margin": margin,
    }
    result = world.run(STRATEGIES[case.name](**options, **own))
    search = Search(Model(draw, QUESTION), action, limits)
    case.textbook(search, **own)
    return by_engine(result, world.generated), by_textbook(search, rule)


def agree(case: Case, seed: int, parallel: int, budget: str) -> None:
    ours, theirs = both(case, seed, parallel, budget)
    for part in Report._fields:
        assert getattr(ours, part) == getattr(theirs, part), (part, case.name, seed, parallel, budget)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("budget", ["rollouts", "tokens"])
def test_a_search_is_what_the_textbook_says(name: str, budget: str) -> None:
    for seed in range(WORLDS):
        agree(CASES[name], seed, 1, budget)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.waves])
def test_waves_of_chains_are_what_the_textbook_says(name: str) -> None:
    for seed in range(WORLDS):
        agree(CASES[name], seed, 2 + seed % 4, "rollouts")


def test_self_consistency_does_not_depend_on_the_width_of_its_waves() -> None:
    for seed in range(WORLDS):
        agree(CASES["self-consistency"], seed, 2 + seed % 4, "rollouts")


def test_every_strategy_has_a_textbook() -> None:
    assert CASES.keys() == STRATEGIES.keys()
