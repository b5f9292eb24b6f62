"""From the readers of one step to those of the next, on the tree of stems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .kv_node import KVNode
from .planner import Reader
from .stem_tree import StemTree
from .tile_cutting import Counts
from .tile_order import RowOrder


class Readers(NamedTuple):
    """The readers of a step by the node that they end in.

    Attributes:
        single: Those that share their node with no other.
        several: The others.
    """

    single: dict[KVNode, Reader]
    several: dict[KVNode, list[Reader]]


class Changes(NamedTuple):
    """What has become of the twigs of the step before.

    Attributes:
        kept: Which of them read one token more.
        leaves: The nodes that they end in now.
        firsts: Number of that token in its node.
        anything: Whether anything else has happened.
    """

    kept: Counts
    leaves: list[KVNode]
    firsts: Counts
    anything: bool


def by_leaf(leaves: Sequence[KVNode], readers: Sequence[Reader]) -> Readers:
    """Sort `readers`, which end in `leaves`."""
    single = dict(zip(leaves, readers, strict=True))
    if len(single) == len(readers):
        return Readers(single, {})
    groups: defaultdict[KVNode, list[Reader]] = defaultdict(list)
    for reader in readers:
        groups[reader.leaf].append(reader)
    single = {leaf: same[0] for leaf, same in groups.items() if len(same) == 1}
    return Readers(single, {leaf: same for leaf, same in groups.items() if len(same) > 1})


def follow(tree: StemTree, order: RowOrder, firsts: Counts, readers: Readers) -> Changes:
    """Let twigs grow, be born and end, and rows end in stems, as `readers` do; `tree.settle` is still to be called.

    A node that somebody read in the step before and somebody reads below in this one has kept its pages: whatever loses
    them is computed again in a step of its own, in which it is the end of a path. So all that is known of such nodes is
    still true.

    Args:
        tree: Has stood still since the step before.
        order: Its rows in the step before.
        firsts: Of each twig, the number of the last token that it read of its leaf.
        readers: Of this step.
    """
    tree.follow_splits()
    ended = _free_stems(tree, order, readers)
    kept, gone = _keep_twigs(tree, order, (firsts + 1).tolist(), readers)
    leaves = [order.twigs[i].leaf for i in kept]
    born = dict.fromkeys((*readers.single, *readers.several))
    for leaf in leaves:
        del born[leaf]
    _add(tree, born, readers)
    single = readers.single
    now = np.array([single[leaf].first for leaf in leaves], np.int64)
    return Changes(np.array(kept, np.int64), leaves, now, bool(ended or gone or born))


def _free_stems(tree: StemTree, order: RowOrder, readers: Readers) -> bool:
    """Let no row end in a stem any more; returns whether one did."""
    for stem, _ in order.ends:
        tree.end(stem, ())
        goes_on = stem.last in readers.single or stem.last in readers.several
        partial = stem.start + stem.length < stem.last.end
        if not (stem.twigs or stem.stems) and (goes_on or partial):
            tree.remove_stem(stem)
    return bool(order.ends)


def _keep_twigs(tree: StemTree, order: RowOrder, due: list[int], readers: Readers) -> tuple[list[int], bool]:
    """Let the clock tick; returns which twigs grow as is `due`, and whether others did not.

    A leaf that was frozen, below which a single branch goes on, passes its twig on. If several go on it stays for them.
    """
    single = readers.single
    heirs: defaultdict[KVNode | None, list[KVNode]] = defaultdict(list)
    for leaf in tree.strangers(single):
        if single[leaf].rows == 1 and single[leaf].first == 0:
            heirs[leaf.parent].append(leaf)
    kept: list[int] = []
    tree.clock += 1
    for i, (twig, first) in enumerate(zip(order.twigs, due, strict=True)):
        leaf = twig.leaf
        reader = single.get(leaf)
        if reader is not None and reader.first == first and reader.rows == 1 and reader.writes:
            kept.append(i)
            continue
        goes_on = heirs[leaf] if leaf in heirs and first == len(leaf.tokens) else ()
        if len(goes_on) == 1 and reader is None and leaf not in readers.several:
            tree.pass_on(twig, goes_on[0])
            kept.append(i)
            continue
        twig.span -= 1
        if not goes_on:
            tree.remove_twig(twig)
    return kept, len(kept) < len(order.twigs)


def _add(tree: StemTree, born: Iterable[KVNode], readers: Readers) -> None:
    """Enter the readers that end in `born`."""
    single, several = readers
    if any(tree.knows(leaf) and (leaf in several or single[leaf].writes) for leaf in born):
        tree.tidy()  # a leaf that is computed now was not read below just before: what is known of it is out of date
    for leaf in born:
        if leaf in several:
            tree.add_ends(several[leaf])
        elif single[leaf].rows > 1 or not leaf.childless or tree.knows(leaf):
            tree.add_ends([single[leaf]])
        else:
            tree.add_twig(single[leaf])
