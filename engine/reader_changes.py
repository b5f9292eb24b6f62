"""From the readers of one step to those of the next, on the tree of stems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .kv_node import KVNode
from .planner import Reader
from .stem import Twig
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


class Grown(NamedTuple):
    """What has become of the twigs of the step before.

    Attributes:
        kept: Which of them read one token more.
        leaves: The nodes that these end in now.
        firsts: Number of that token in its node.
        gone: The others, as they were.
    """

    kept: Counts
    leaves: list[KVNode]
    firsts: Counts
    gone: list[Twig]


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


def grow(tree: StemTree, order: RowOrder, due: Counts, readers: Readers) -> Grown:
    """Let the clock tick, and with it all twigs that `readers` go on with.

    A leaf that was frozen, below which a single branch goes on, passes its twig on.

    Args:
        tree: Has stood still since the step before.
        order: Its rows in the step before.
        due: Of each twig, the number of the next token of its leaf.
        readers: Of this step.
    """
    single = readers.single
    heirs: defaultdict[KVNode | None, list[KVNode]] = defaultdict(list)
    for leaf in tree.strangers(single):
        if single[leaf].rows == 1 and single[leaf].first == 0:
            heirs[leaf.parent].append(leaf)
    kept: list[int] = []
    gone: list[Twig] = []
    tree.clock += 1
    for i, (twig, first) in enumerate(zip(order.twigs, due.tolist(), strict=True)):
        leaf = twig.leaf
        reader = single.get(leaf)
        if reader is not None and reader.first == first and reader.rows == 1 and reader.writes:
            kept.append(i)
        elif (
            reader is None
            and leaf in heirs
            and _inherits(heirs[leaf], twig.start + tree.length(twig) - 1, leaf, readers)
        ):
            tree.pass_on(twig, heirs[leaf][0])
            kept.append(i)
        else:
            twig.span -= 1
            gone.append(twig)
    leaves = [order.twigs[i].leaf for i in kept]
    now = np.array([single[leaf].first for leaf in leaves], np.int64)
    return Grown(np.array(kept, np.int64), leaves, now, gone)


def follow(tree: StemTree, order: RowOrder, grown: Grown, readers: Readers) -> bool:
    """Let branches be born and end, and rows end in stems, as `readers` do; returns whether any has.

    A node that somebody read in the step before and somebody reads below in this one has kept its pages: whatever loses
    them is computed again in a step of its own, in which it is the end of a path. So all that is known of such nodes is
    still true. Afterwards `tree.settle` is still to be called.

    Args:
        tree: All twigs that grow have got their token.
        order: Its rows in the step before.
        grown: What has become of the twigs.
        readers: Of this step.
    """
    ended = _free_stems(tree, order, readers)
    born = dict.fromkeys((*readers.single, *readers.several))
    for leaf in grown.leaves:
        del born[leaf]
    if born:
        _remove(tree, [twig for twig in grown.gone if twig.leaf in born])
        if any(tree.knows(leaf) and (leaf in readers.several or readers.single[leaf].writes) for leaf in born):
            _remove(tree, grown.gone)  # a leaf that is computed now was not read below just before
            tree.tidy()
        _add(tree, born, readers)
    _remove(tree, grown.gone)
    return bool(ended or grown.gone or born)


def _inherits(heirs: list[KVNode], end: int, leaf: KVNode, readers: Readers) -> bool:
    """Whether a single branch goes on from `leaf`, where its twig ended, and nothing else reads it."""
    return len(heirs) == 1 and heirs[0].start == end and leaf not in readers.several


def _free_stems(tree: StemTree, order: RowOrder, readers: Readers) -> bool:
    """Let no row end in a stem any more; returns whether one did."""
    for stem, _ in order.ends:
        tree.end(stem, ())
        goes_on = stem.last in readers.single or stem.last in readers.several
        partial = stem.start + stem.length < stem.last.end
        if not (stem.twigs or stem.stems) and (goes_on or partial):
            tree.remove_stem(stem)
    return bool(order.ends)


def _remove(tree: StemTree, gone: list[Twig]) -> None:
    """Forget those of `gone` that are still twigs: where others start from the leaf there is a stem instead."""
    for twig in gone:
        if twig in twig.base.twigs:
            tree.remove_twig(twig)


def _add(tree: StemTree, born: Iterable[KVNode], readers: Readers) -> None:
    """Enter the readers that end in `born`."""
    single, several = readers
    for leaf in born:
        if leaf in several:
            tree.add_ends(several[leaf])
        elif single[leaf].rows > 1 or not leaf.childless or tree.knows(leaf):
            tree.add_ends([single[leaf]])
        else:
            tree.add_twig(single[leaf])
