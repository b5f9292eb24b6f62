"""The KV tree against a brute-force model: who holds which tokens, and what every cache slot must contain."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from marcot.engine.errors import IntegrityError
from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.model import PAGE_SIZE

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=3 * PAGE_SIZE)
"""A small alphabet, so that prompts share prefixes of every length."""


class TreeMachine(RuleBasedStateMachine):
    """Random requests on a pool of 12 pages, where `slots` stands for the memory of K and V.

    A slot holds the whole path up to its token, which is exactly what K and V of a causal model depend on.
    """

    handles = Bundle("handles")
    branches = Bundle("branches")

    def __init__(self) -> None:
        super().__init__()
        self.tree = KVTree(12)
        self.slots: dict[int, tuple[int, ...]] = {}
        self.paths: dict[KVNode, list[tuple[int, ...]]] = {}
        self.running: dict[KVNode, tuple[int, ...]] = {}

    # --- what a scheduler does ---

    def hold(self, node: KVNode, path: tuple[int, ...]) -> KVNode:
        self.tree.hold(node)
        self.paths.setdefault(node, []).append(path)
        return node

    def write(self, node: KVNode) -> bool:
        """Compute all tokens of `node`, whose ancestors are computed; False if there are not enough pages."""
        if not self.tree.reserve(node, len(node.tokens)):
            return False
        path = node.path_ids()
        for i in range(node.computed, len(node.tokens)):
            (slot,) = node.slots(i, 1)
            self.slots[slot] = tuple(path[: node.start + i + 1])
        node.computed = node.ever_computed = len(node.tokens)
        return True

    def compute(self, node: KVNode) -> bool:
        self.tree.pin(node)
        done = all(self.write(part) for part in node.path())
        self.tree.unpin(node)
        return done

    # --- rules ---

    @rule(target=handles, tokens=TOKENS)
    def prefill(self, tokens: list[int]) -> KVNode:
        node = self.tree.insert(self.tree.root, tokens)
        assert node.path_ids() == tokens
        return self.hold(node, tuple(tokens))

    @rule(target=handles, node=handles, tokens=TOKENS)
    def append(self, node: KVNode, tokens: list[int]) -> KVNode:
        return self.hold(self.tree.insert(node, tokens), self.paths[node][0] + tuple(tokens))

    @rule(node=handles)
    def compute_path(self, node: KVNode) -> None:
        self.compute(node)

    @rule(target=handles, node=handles, share=st.floats(0, 1))
    def split(self, node: KVNode, share: float) -> KVNode:
        path = self.paths[node][0]
        end = 1 + int(share * (len(path) - 1))
        upper = self.tree.ancestor_at(node, end)
        assert upper.end == end
        return self.hold(upper, path[:end])

    @rule(node=consumes(handles))
    def release(self, node: KVNode) -> None:
        self.paths[node].pop()
        if not self.paths[node]:
            del self.paths[node]
        self.tree.release(node)

    @rule(target=branches, node=handles)
    def fork(self, node: KVNode) -> KVNode:
        if not self.compute(node):
            return multiple()
        child = self.tree.fork(node)
        self.tree.pin(child)
        self.running[child] = self.paths[node][0]
        return child

    @rule(branch=branches, token=st.integers(0, 2), count=st.integers(1, 2 * PAGE_SIZE))
    def extend(self, branch: KVNode, token: int, count: int) -> None:
        if branch not in self.running:
            return
        before = len(branch.tokens)
        branch.tokens.extend([token] * count)
        if self.write(branch):
            self.running[branch] += (token,) * count
        else:
            del branch.tokens[before:]

    @rule(target=handles, branch=consumes(branches))
    def freeze(self, branch: KVNode) -> KVNode:
        path = self.running.pop(branch, None)
        if path is None:
            return multiple()
        self.tree.unpin(branch)
        if not branch.tokens:
            self.tree.discard(branch)
            return multiple()
        self.tree.freeze(branch)
        return self.hold(branch, path)

    @rule(branch=branches)
    def preempt_and_resume(self, branch: KVNode) -> None:
        if branch not in self.running:
            return
        self.tree.unpin(branch)
        if branch.pages:
            self.tree.drop(branch)
        self.tree.check_integrity()
        self.tree.pin(branch)
        if not all(self.write(part) for part in branch.path()):
            del self.running[branch]
            self.tree.unpin(branch)
            if branch.pages:
                self.tree.drop(branch)
            self.tree.discard(branch)

    @rule()
    def evict_everything_idle(self) -> None:
        hungry = self.tree.fork(self.tree.root)
        self.tree.pin(hungry)
        self.tree.reserve(hungry, 12 * PAGE_SIZE)
        if not self.running:
            assert self.tree.pool.free == 12 - len(hungry.pages) == 0
        self.tree.unpin(hungry)
        if hungry.pages:
            self.tree.drop(hungry)
        self.tree.discard(hungry)

    # --- what must hold after every rule ---

    @invariant()
    def the_books_add_up(self) -> None:
        self.tree.check_integrity()

    @invariant()
    def every_handle_still_means_its_tokens(self) -> None:
        for node, paths in self.paths.items():
            assert node.handles == len(paths)
            assert all(tuple(node.path_ids()) == path for path in paths)
            assert node.end == len(paths[0])

    @invariant()
    def every_cached_token_is_in_its_slot(self) -> None:
        for node in self.tree.nodes():
            path = node.path_ids()
            for i, slot in enumerate(node.slots(0, node.computed)):
                assert self.slots[slot] == tuple(path[: node.start + i + 1])

    @invariant()
    def running_branches_keep_their_cache(self) -> None:
        for branch, path in self.running.items():
            assert tuple(branch.path_ids()) == path
            assert all(part.computed == len(part.tokens) for part in branch.path())


TreeMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTreeAgainstBruteForce = TreeMachine.TestCase


def computed(tree: KVTree, tokens: list[int]) -> KVNode:
    """Insert `tokens` as if they had been prefilled."""
    node = tree.insert(tree.root, tokens)
    tree.pin(node)
    for part in node.path():
        assert tree.reserve(part, len(part.tokens))
        part.computed = part.ever_computed = len(part.tokens)
    tree.unpin(node)
    return node


def test_a_fork_copies_nothing() -> None:
    tree = KVTree(8)
    parent = computed(tree, list(range(40)))
    slots, pages = parent.slots(0, 40), list(parent.pages)
    tree.hold(parent)
    branches = [tree.fork(parent) for _ in range(5)]
    assert tree.pool.in_use == len(pages) == 3
    assert (parent.slots(0, 40), parent.pages) == (slots, pages)
    assert all((branch.parent, branch.start, branch.pages) == (parent, 40, []) for branch in branches)


def test_split_in_the_middle_of_a_page_copies_nothing() -> None:
    tree = KVTree(8)
    lower = computed(tree, list(range(40)))
    slots = lower.slots(0, 40)
    upper = tree.ancestor_at(lower, 21)
    assert tree.pool.in_use == 3
    assert upper.slots(0, 21) + lower.slots(0, 19) == slots
    assert upper.pages[-1] == lower.pages[0]
    assert not upper.borrowed
    assert lower.borrowed
    tree.check_integrity()


def test_second_prompt_shares_the_common_prefix() -> None:
    tree = KVTree(8)
    first = computed(tree, [*range(30), 99])
    second = tree.insert(tree.root, [*range(30), 77, 78])
    assert second.parent is first.parent
    assert second.parent is not None
    assert second.parent.computed == 30
    assert second.computed == 0


def test_prompts_share_nodes_only_with_those_of_the_same_salt() -> None:
    tree = KVTree(8)
    tokens = list(range(20))
    plain, first, again, other = (tree.insert(tree.root_of(salt), tokens) for salt in (None, "a", "a", "b"))
    assert first is again
    assert len({plain, first, other}) == len(tree.roots) == 3
    assert plain.path_hash() == first.path_hash() == other.path_hash()
    for node in (plain, first, other):
        tree.hold(node)
        tree.pin(node)
        assert tree.reserve(node, 20)
        node.count_computed(20)
        tree.unpin(node)
    tree.ancestor_at(first, 7)
    tree.check_integrity()
    for node in (plain, first, other):
        tree.release(node)
    assert tree.vacate(tree.pool.capacity)
    del first, again, other, node
    gc.collect()
    assert tree.roots == [tree.root]
    tree.check_integrity()


def test_released_nodes_go_before_held_ones_and_old_before_new() -> None:
    """The last use counts, not the order in which they were made or first queued for eviction."""
    tree = KVTree(3)
    new, old, held = (computed(tree, [token] * PAGE_SIZE) for token in (1, 2, 3))
    for node in (held, old, new):
        tree.hold(node)
        tree.pin(node)
        tree.unpin(node)
    tree.release(new)
    tree.release(old)
    hungry = tree.fork(tree.root)
    tree.pin(hungry)
    for pages, expected in enumerate((old, new, held), start=1):
        assert expected.pages
        assert tree.reserve(hungry, pages * PAGE_SIZE)
        assert not expected.pages
    assert not tree.reserve(hungry, 4 * PAGE_SIZE)
    assert held.tokens == [3] * PAGE_SIZE
    tree.check_integrity()


def test_a_split_node_is_as_old_as_it_was() -> None:
    tree = KVTree(4)
    split, other = computed(tree, [1] * 2 * PAGE_SIZE), computed(tree, [2] * PAGE_SIZE)
    upper = tree.ancestor_at(split, PAGE_SIZE)
    hungry = tree.fork(tree.root)
    tree.pin(hungry)
    assert tree.reserve(hungry, 3 * PAGE_SIZE)
    assert not split.pages
    assert not upper.pages
    assert other.pages
    tree.check_integrity()


def test_pages_after_the_computed_tokens_are_trimmed() -> None:
    """But the first page stays, since a node without pages may have no children with pages."""
    tree = KVTree(5)
    for tokens, pages in ((0, 1), (1, 1), (PAGE_SIZE, 1), (PAGE_SIZE + 1, 2), (3 * PAGE_SIZE, 3)):
        node = tree.fork(tree.root)
        tree.pin(node)
        node.extend([7] * tokens)
        assert tree.reserve(node, 5 * PAGE_SIZE)
        node.count_computed(tokens)
        tree.trim(node)
        assert (len(node.pages), tree.pool.free) == (pages, 5 - pages)
        tree.check_integrity()
        tree.unpin(node)
        tree.discard(node)
    assert tree.pool.peak == 5


def test_pages_are_reserved_ahead_for_all_nodes_or_for_none() -> None:
    tree = KVTree(6)
    nodes = [tree.fork(tree.root) for _ in range(3)]
    for node, pages in zip(nodes, (1, 1, 3), strict=True):
        tree.pin(node)
        assert tree.reserve(node, pages * PAGE_SIZE)
    assert not tree.reserve_ahead(nodes, [17, 17, 5])
    assert [len(node.pages) for node in nodes] == [1, 1, 3]
    assert tree.reserve_ahead(nodes, [17, 16, 5])
    assert [len(node.pages) for node in nodes] == [2, 1, 3]
    tree.check_integrity()


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ([1, 2, 3, 7], True),
        ([1, 2, 3], True),
        ([1, 2], True),
        ([1, 2, 7], False),
        ([1, 7], False),
        ([1, 2, 3, 8], False),
        ([1, 2, 3, 7, 7], False),
        ([2], False),
    ],
)
def test_a_tree_has_the_prefixes_of_its_paths_and_nothing_else(tokens: list[int], found: bool) -> None:
    tree = KVTree(4)
    tree.insert(tree.insert(tree.root, [1, 2, 3]), [7])
    assert tree.has(tree.root, tokens) == found


def test_path_hash_does_not_depend_on_how_tokens_are_cut() -> None:
    whole, cut = KVTree(8), KVTree(8)
    node = computed(cut, list(range(40)))
    for end in (3, 17, 39):
        cut.ancestor_at(node, end)
    assert node.path_hash() == computed(whole, list(range(40))).path_hash()
    assert node.path_hash() != computed(whole, [*range(39), 0]).path_hash()


def test_path_hash_depends_on_the_order_and_the_number_of_tokens() -> None:
    tree = KVTree(8)
    paths = [[token] * count for token in (0, 5, 6) for count in (1, 2, 3)] + [[5, 6], [6, 5], [5, 0], [5, 5, 6]]
    hashes = {tree.root.path_hash(), *(tree.insert(tree.root, path).path_hash() for path in paths)}
    assert len(hashes) == 1 + len(paths)


@pytest.mark.parametrize("harm", ["lost page", "double owner", "wrong count"])
def test_integrity_check_finds_harm(harm: str) -> None:
    tree = KVTree(4)
    node = computed(tree, [1] * 20)
    if harm == "lost page":
        node.pages.pop()
    elif harm == "double owner":
        tree.pool.give([node.pages[0]])
    else:
        node.readers += 1
    with pytest.raises(IntegrityError):
        tree.check_integrity()
