"""Where each token ends in the text of its node."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.search import TreeNode, with_token_ends
from support.searches.grown_tree import BYTES, chain, decode, grown_tree

TREE = "🌳".encode()


def texts(tree: Sequence[TreeNode], decoder: Callable) -> list[tuple[str, ...]]:
    return [node.token_texts for node in with_token_ends(tree, decoder)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rollouts=st.integers(1, 12), split=st.floats(0, 1))
def test_they_add_up_to_the_nodes_text(seed: int, rollouts: int, split: float) -> None:
    tree = grown_tree(seed, rollouts, split=split).tree
    for node in with_token_ends(tree, decode):
        assert len(node.token_texts) == len(node.token_ids)
        assert "".join(node.token_texts) == node.text


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), min_size=1), data=st.data())
def test_on_whole_characters_they_are_those_of_an_incremental_decoder(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cuts = sorted(
        data.draw(st.sets(st.integers(1, max(len(encoded) - 1, 1)), max_size=4)) & set(range(1, len(encoded)))
    )
    decoder = codecs.getincrementaldecoder("utf-8")()
    tree, expected = [TreeNode(0, None, "", 1, 0.5, 0)], [()]
    for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True):
        parts = tuple(decoder.decode(bytes([byte])) for byte in encoded[start:end])
        ids = tuple(BYTES + byte for byte in encoded[start:end])
        tree.append(
            TreeNode(len(tree), len(tree) - 1, "".join(parts), 1, 0.5, len(ids), "step", ids, (0.5,) * len(ids))
        )
        expected.append(parts)
    assert texts(tree, decode) == expected


def test_a_character_belongs_to_the_token_that_ends_it_also_in_the_next_node() -> None:
    first, second = (BYTES + TREE[0], BYTES + TREE[1]), (BYTES + TREE[2], BYTES + TREE[3], BYTES + ord("!"))
    tree = [
        TreeNode(0, None, "", 1, 0.5, 0),
        TreeNode(1, 0, "", 1, 0.5, 2, "step", first, (0.5, 0.5)),
        TreeNode(2, 1, "🌳!", 1, 0.5, 3, "step", second, (0.5, 0.5, 0.5)),
    ]
    assert texts(tree, decode) == [(), ("", ""), ("", "🌳", "!")]


def test_a_decoder_that_drops_a_leading_space_sees_what_came_before() -> None:
    tree = [
        TreeNode(0, None, "", 1, 0.5, 0),
        TreeNode(1, 0, "two", 1, 0.5, 1, "step", (7,), (0.5,)),
        TreeNode(2, 1, " two two", 1, 0.5, 2, "step", (7, 7), (0.5, 0.5)),
    ]
    assert texts(tree, lambda ids: (" two" * len(ids))[1:]) == [(), ("two",), (" two", " two")]


@pytest.mark.parametrize(
    "decoder", [decode, lambda ids: "", lambda ids: "?" * 3 * len(ids)], ids=["own", "no", "other"]
)
def test_the_nodes_text_holds_whatever_the_decoder_says(decoder: Callable) -> None:
    tree = grown_tree(5, 6).tree
    for node in with_token_ends(tree, decoder):
        assert "".join(node.token_texts) == node.text


def test_nodes_without_tokens_have_none() -> None:
    tree = [TreeNode(0, None, "", 1, 0.5, 0), TreeNode(1, 0, "Text.", 1, 0.5, 2)]
    assert texts(tree, decode) == [(), ()]


def test_the_sample_trees_are_what_they_say() -> None:
    result = grown_tree(3, 9)
    for rollout in result.rollouts:
        ids = [token for id in chain(result.tree, rollout.leaf) for token in result.tree[id].token_ids]
        assert decode(ids) == rollout.text


def test_a_strategy_that_names_a_parent_later_or_never_still_gets_its_texts() -> None:
    tree = [
        TreeNode(0, None, "", 1, 0.5, 0),
        TreeNode(1, 2, "é", 1, 0.5, 2, "step", tuple(BYTES + byte for byte in "é".encode()), (0.5, 0.5)),
        TreeNode(2, 7, "ok", 1, 0.5, 2, "step", (BYTES + ord("o"), BYTES + ord("k")), (0.5, 0.5)),
    ]
    assert texts(tree, decode) == [(), ("", "é"), ("o", "k")]
