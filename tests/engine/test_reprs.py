"""The repr of public objects is one line, without arrays or long texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marcot.engine import Engine, Expansion, InputError, Outcome, Progress, Sampling, Usage
from marcot.engine.search import STRATEGIES, Rollout, SearchNode, Solution, Strategy, Trace, Wave
from marcot.engine.search.rollout.branch_prefix import BranchPrefix
from marcot.engine.search.rollout.node_content import NodeContent
from marcot.engine.search.rollout.token_stats import TokenStats
from marcot.engine.text.brief import brief
from support.searches.grown_tree import grown_tree
from support.searches.hostile_text import HOSTILE, everywhere
from support.searches.trials import trial

LONG = "We add six and two.\n\n" * 400
LONGEST = 320


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=4096)


@pytest.fixture(scope="module")
def wordless(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2")), kv_tokens=4096)


def short(thing: object) -> str:
    """Return the repr, which must be one short line."""
    shown = repr(thing)
    assert "\n" not in shown
    assert len(shown) <= LONGEST, shown
    return shown


def test_a_result_says_what_was_found() -> None:
    result = replace(grown_tree(3, 8), answer="60", confidence=0.514, value=0.9512)
    assert (
        repr(result) == f"SearchResult(answer='60', confidence=0.51, value=0.951, 8 rollouts, {len(result.tree)} nodes)"
    )
    assert short(replace(result, answer=LONG)).startswith("SearchResult(answer='We add six and two.\\n\\n")
    assert "value=nan" in short(replace(result, value=math.nan, rollouts=()))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_breaks_a_line(text: str) -> None:
    result = everywhere(text)
    for thing in (result, *result.tree, *result.rollouts, Outcome(0, text, result, None)):
        short(thing)


def test_parts_of_a_result() -> None:
    rollout = Rollout(LONG, 0.51234, LONG, 400, "eos", 7)
    assert short(rollout).startswith("Rollout(text='We add six and two.\\n\\nWe")
    assert short(rollout).endswith("value=0.5123, tokens=400, finish_reason='eos')")
    node = replace(grown_tree(3, 8).tree[5], text=LONG, token_ids=(1,) * 400, confidences=(0.5,) * 400)
    assert short(node).startswith("TreeNode(id=5, parent=")


def test_a_node_says_its_text_its_size_and_why_it_ended(engine: Engine) -> None:
    prompt = engine.prefill("How many clips? " * 50)
    [kid] = engine.expand(prompt, 1, Sampling(max_tokens=5, ignore_eos=True))
    assert short(prompt).startswith("Node(text='How many clips? How many")
    assert short(kid).endswith(f"5 of {prompt.length + 5} tokens, finish_reason='length')")
    kid.release()
    assert short(kid).endswith("5 tokens, released, finish_reason='length')")


def test_a_node_without_text_shows_tokens(wordless: Engine) -> None:
    with wordless.prefill(list(range(3, 60))) as node:
        assert short(node) == "Node(token_ids=[3, 4, 5, 6, ... 57 in all], 57 of 57 tokens, finish_reason=None)"


def test_an_engine_says_its_model_and_how_full_it_is(engine: Engine, wordless: Engine) -> None:
    assert short(engine).startswith("Engine(qwen2, exact, cpu, ")
    assert short(engine).endswith(" of 4,096 KV tokens in use)")
    wordless.settings = {}
    assert short(wordless).startswith("Engine(qwen2, ")


def things(engine: Engine) -> Iterator[Any]:
    prompt = engine.prefill(LONG[:900])
    yield Expansion(prompt, 4, Sampling(seed=7))
    [score] = engine.score([LONG[:900]])
    yield score
    [kid] = engine.expand(prompt, 1, Sampling(max_tokens=40))
    yield kid._completion
    yield Outcome(3, LONG, None, InputError(LONG))
    yield Progress(0, 3, 9, 100, math.nan, LONG)
    yield engine.usage
    yield Usage()
    yield Solution(LONG, LONG, 0.5, 0.5, 3)
    none = np.empty((400, 5), np.float32)
    yield Trace(LONG, LONG, LONG, True, none[:, 0], none[:, 0], none, str)
    yield trial(0, ["8"] * 300)
    yield Wave([Expansion(prompt, 1, Sampling())] * 9, Progress(0, 3, 9, 100, 0.5, ""))
    root = SearchNode(0, None, NodeContent((), LONG, "", 0, TokenStats.joined([]), BranchPrefix(prompt, 0)))
    root.children.append(SearchNode(1, root, root.content))
    yield root


def test_whatever_a_search_hands_out_is_one_line(engine: Engine) -> None:
    for thing in things(engine):
        assert short(thing).startswith(f"{type(thing).__name__}(")


def test_sampling_names_what_was_chosen() -> None:
    assert repr(Sampling()) == "Sampling()"
    chosen = Sampling(temperature=0.8, stop=("\n\n",), seed=7)
    assert repr(chosen) == "Sampling(temperature=0.8, stop=('\\n\\n',), seed=7)"
    assert eval(repr(chosen)) == chosen


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_strategy_names_what_was_chosen(strategy: type[Strategy]) -> None:
    chosen = strategy(rollouts=7, action="mini-step-32", sampling=Sampling(seed=3))
    assert eval(repr(chosen), {strategy.__name__: strategy, "Sampling": Sampling}) == chosen
    assert "action='mini-step-32'" in short(chosen)
    assert "max_depth" not in repr(chosen)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "''"),
        ("a" * 48, repr("a" * 48)),
        ("a" * 49, repr("a" * 45 + "...")),
        (np.zeros((3, 0), np.int64), "int64[3, 0]"),
        ((1, "two", None), "[1, 'two', None]"),
        ([[0.25] * 9] * 9, "[" + "[0.25, 0.25, 0.25, 0.25, ... 9 in all], " * 4 + "... 9 in all]"),
        ([Sampling()] * 3, "[3 x Sampling]"),
    ],
    ids=["empty", "fits", "too long", "array", "tuple", "nested", "records"],
)
def test_brief(value: object, shown: str) -> None:
    assert brief(value) == shown
