"""Whatever branches share is computed once, and sharing changes no branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.engine.errors import ContextOverflowError, PoolTooSmallError
from marcot.engine.scheduler.limits import SchedulerLimits

PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31, 7, 120, 64, 300, 12, 13, 14, 15, 16, 200, 201]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2"))


@pytest.fixture
def engine(folder: str) -> Iterator[Engine]:
    engine = Engine.load(folder, kv_tokens=16384)
    yield engine
    engine.tree.check_integrity()


def sample(tokens: int, **overrides: object) -> Sampling:
    fields = {"temperature": 1.0, "top_k": 40, "top_p": 1.0, "ignore_eos": True, "seed": 11} | overrides
    return Sampling(max_tokens=tokens, **fields)  # type: ignore[arg-type]


def assert_same(first: Node, second: Node) -> None:
    assert first.token_ids.tolist() == second.token_ids.tolist()
    np.testing.assert_allclose(first.logprobs, second.logprobs, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(first.top_logprobs, second.top_logprobs, atol=TOLERANCE, rtol=0)


def test_branch_of_a_tree_of_64_leaves_and_depth_8_equals_the_branch_alone(folder: str, engine: Engine) -> None:
    """Eight levels below the prompt: six with two children each, then two with one child."""
    level = [engine.prefill(PROMPT)]
    paths: dict[int, list[Node]] = {id(level[0]): []}
    for depth, width in enumerate((2, 2, 2, 2, 2, 2, 1, 1)):
        children = engine.expand([Expansion(node, width, sample(3 + depth % 4)) for node in level])
        for node, family in zip(level, children, strict=True):
            paths.update({id(child): [*paths[id(node)], child] for child in family})
        level = [child for family in children for child in family]
    assert len(level) == 64
    assert len({tuple(leaf.path_ids) for leaf in level}) > 60

    alone = Engine.load(folder, kv_tokens=1024)
    for leaf in level[::7]:
        node = alone.prefill(PROMPT)
        for depth, expected in enumerate(paths[id(leaf)]):
            siblings = alone.expand(node, 2, sample(3 + depth % 4))
            match = [child for child in siblings if child.token_ids.tolist() == expected.token_ids.tolist()]
            assert match, f"no sample at depth {depth} repeats the tree's"
            assert_same(match[0], expected)
            node = match[0]
        (score,) = alone.score([leaf.path_ids], top_k=5)
        joined = np.concatenate([part.logprobs for part in paths[id(leaf)]])
        np.testing.assert_allclose(score.logprobs[len(PROMPT) :], joined, atol=TOLERANCE, rtol=0)


def test_children_cost_their_own_tokens_only(engine: Engine) -> None:
    node = engine.prefill(PROMPT)
    assert engine.usage.prefill_tokens == len(PROMPT)
    children = engine.expand(node, 6, sample(9))
    assert engine.usage.generated_tokens == 6 * 9
    assert engine.usage.prefill_tokens == len(PROMPT)
    assert engine.usage.reused_tokens == 6 * len(PROMPT)
    engine.expand(children[2], 4, sample(5))
    assert engine.usage.generated_tokens == 6 * 9 + 4 * 5
    assert engine.usage.prefill_tokens == len(PROMPT) + 1, "only the last token of a branch waits for its first child"
    assert engine.usage.recomputed_tokens == 0


def test_second_request_with_the_same_prefix_reuses_it_after_release(engine: Engine) -> None:
    engine.prefill(PROMPT).release()
    engine.prefill([*PROMPT, 42, 43])
    assert engine.usage.prefill_tokens == len(PROMPT) + 2
    assert engine.usage.recomputed_tokens == 0


def test_prompts_of_one_call_share_their_prefix_while_it_is_computed(engine: Engine) -> None:
    start = engine.prefill(PROMPT[:1])
    nodes = [start.append([*PROMPT[1:], last]) for last in (1, 2)]
    engine.expand([Expansion(node, 1, sample(2)) for node in nodes])
    assert engine.usage.prefill_tokens == len(PROMPT) + 2


def test_prefix_of_a_branch_is_expanded_without_any_computation(engine: Engine) -> None:
    (rollout,) = engine.expand(engine.prefill(PROMPT), 1, sample(30))
    head = rollout.prefix(12)
    assert head.token_ids.tolist() == rollout.token_ids[:12].tolist()
    before = engine.usage.prefill_tokens + engine.usage.recomputed_tokens
    siblings = engine.expand(head, 3, sample(1))
    assert engine.usage.prefill_tokens + engine.usage.recomputed_tokens == before
    for sibling in siblings:
        np.testing.assert_array_equal(sibling.top_ids[0], rollout.top_ids[12])
    (again,) = engine.expand(head, 1, sample(17, temperature=0.0))
    (score,) = engine.score([head.path_ids + again.token_ids.tolist()])
    np.testing.assert_allclose(score.logprobs[-17:], again.logprobs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("pages", [9, 12, 20], ids=lambda pages: f"{pages}-pages")
def test_preemption_and_eviction_change_nothing(folder: str, engine: Engine, pages: int) -> None:
    """Eight branches of 60 tokens need 34 pages. With fewer, some of them lose their KV cache on the way."""
    expected = engine.expand(engine.prefill(PROMPT), 8, sample(60))
    small = Engine.load(folder, kv_tokens=pages * 16)
    got = small.expand(small.prefill(PROMPT), 8, sample(60))
    assert small.usage.preemptions > 0
    assert small.usage.recomputed_tokens > 0
    for one, other in zip(expected, got, strict=True):
        assert_same(one, other)
    small.tree.check_integrity()
    grandchildren = small.expand([Expansion(child, 1, sample(5)) for child in got])
    for (one,), (other,) in zip(
        engine.expand([Expansion(n, 1, sample(5)) for n in expected]), grandchildren, strict=True
    ):
        assert_same(one, other)
    small.tree.check_integrity()


def test_what_is_computed_again_is_counted_as_recomputed(folder: str) -> None:
    """Also in several steps, and in both parts of a node that was split while it had no pages."""
    engine = Engine.load(folder, kv_tokens=80)
    engine._scheduler._limits = SchedulerLimits(step_tokens=7)
    node = engine.prefill(list(range(3, 43)))
    engine.prefill(list(range(100, 170)))
    assert not node.kv.pages
    head = node.prefix(21)
    for each in (head, node):
        engine.expand(each, 1, sample(1))
    assert (engine.usage.prefill_tokens, engine.usage.recomputed_tokens) == (110, 40)
    engine.tree.check_integrity()


@pytest.mark.parametrize("length", [2, 12, 16, 17, 18, 31])
def test_pages_reserved_for_a_round_are_free_when_a_branch_ends_in_it(engine: Engine, length: int) -> None:
    engine._scheduler._limits = SchedulerLimits(round_tokens=10)
    node = engine.prefill(PROMPT)
    (free,) = engine.expand(node, 1, sample(40))
    (child,) = engine.expand(node, 1, sample(40, stop_token_ids=(int(free.token_ids[length - 1]),)))
    assert child.finish_reason == "stop"
    assert len(child.kv.pages) == -(-(len(child.token_ids) - 1) // 16)


def test_step_size_and_batch_limit_change_nothing(folder: str, engine: Engine) -> None:
    expected = engine.expand(
        [Expansion(engine.prefill(PROMPT), 5, sample(11)), Expansion(engine.prefill([9, 9]), 3, sample(4))]
    )
    narrow = Engine.load(folder, kv_tokens=4096)
    narrow._scheduler._limits = SchedulerLimits(step_tokens=3, requests=2)
    got = narrow.expand(
        [Expansion(narrow.prefill(PROMPT), 5, sample(11)), Expansion(narrow.prefill([9, 9]), 3, sample(4))]
    )
    for one, other in zip(chain(*expected), chain(*got), strict=True):
        assert_same(one, other)


def test_results_do_not_depend_on_neighbours_or_order(engine: Engine) -> None:
    first, second = engine.prefill(PROMPT), engine.prefill([7, 7, 7])
    together = engine.expand([Expansion(second, 3, sample(9)), Expansion(first, 4, sample(13, top_k=0, top_p=0.9))])
    alone = engine.expand(first, 4, sample(13, top_k=0, top_p=0.9))
    for one, other in zip(together[1], alone, strict=True):
        assert_same(one, other)
    late = engine.expand(first, 2, sample(13, top_k=0, top_p=0.9), first=2)
    for one, other in zip(alone[2:], late, strict=True):
        assert_same(one, other)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_searches_in_a_small_pool_equal_branches_alone(folder: str, data: st.DataObject) -> None:
    """Expand, cut, append and release at random in 24 pages. Every branch scores as if it were alone."""
    small, large = Engine.load(folder, kv_tokens=24 * 16), Engine.load(folder, kv_tokens=4096)
    nodes = [small.prefill(PROMPT)]
    for _ in range(data.draw(st.integers(2, 6), "rounds")):
        action = data.draw(st.sampled_from(["expand", "prefix", "append", "release"]), "action")
        node = data.draw(st.sampled_from(nodes), "node")
        if action == "expand" and node.length < 150:
            chosen = data.draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3), "more")
            tokens = data.draw(st.integers(1, 40), "tokens")
            fitting = [one for one in [node, *chosen] if one.length < 150]
            families = small.expand([Expansion(one, 3, sample(tokens)) for one in fitting])
            for parent, family in zip(fitting, families, strict=True):
                nodes.extend(family)
                (score,) = large.score([parent.path_ids + family[0].token_ids.tolist()])
                np.testing.assert_allclose(score.logprobs[parent.length :], family[0].logprobs, atol=TOLERANCE, rtol=0)
        elif action == "prefix":
            nodes.append(node.prefix(data.draw(st.integers(1, len(node.token_ids)), "length")))
        elif action == "append":
            nodes.append(node.append(data.draw(st.lists(st.integers(3, 330), min_size=1, max_size=20), "ids")))
        elif len(nodes) > 1:
            nodes.remove(node)
            node.release()
        small.tree.check_integrity()


def test_pool_too_small_for_one_branch_names_both_sizes(folder: str) -> None:
    engine = Engine.load(folder, kv_tokens=32)
    with pytest.raises(PoolTooSmallError, match=r"49 tokens needs 4 KV pages, but the pool has 2 \(32 tokens\)"):
        engine.prefill(list(range(3, 52)))
    with pytest.raises(PoolTooSmallError, match=r"27 tokens needs 3 KV pages, but the pool has 2"):
        engine.expand(engine.prefill(PROMPT[:10]), 2, sample(100))
    engine.tree.check_integrity()
    assert len(engine.expand(engine.prefill(PROMPT[:10]), 1, sample(5))[0].token_ids) == 5


def test_sequence_of_exactly_the_pool_s_size_is_scored(folder: str) -> None:
    engine = Engine.load(folder, kv_tokens=64)
    (score,) = engine.score([list(range(3, 67))])
    assert np.isfinite(score.logprobs[1:]).all()
    assert engine.tree.pool.in_use == 0, "nothing of a scored sequence stays"


def test_branch_ends_where_the_context_ends(tiny_checkpoint: Callable[..., Path]) -> None:
    engine = Engine.load(str(tiny_checkpoint("smollm2", max_position_embeddings=64)), kv_tokens=1024)
    node = engine.prefill(list(range(3, 63)))
    (child,) = engine.expand(node, 1, sample(100))
    assert len(child.token_ids) == 4
    assert child.finish_reason == "length"
    with pytest.raises(ContextOverflowError, match=r"65 tokens .* context is 64"):
        engine.prefill(list(range(3, 68)))
    with pytest.raises(ContextOverflowError):
        engine.expand(child, 1, sample(1))
    engine.tree.check_integrity()
