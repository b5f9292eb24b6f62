"""What a search has forgotten to release."""

from __future__ import annotations

import gc

from marcot.engine import Engine, Node


def held_nodes(engine: Engine) -> int:
    """Nodes of `engine` that are alive and were not released."""
    gc.collect()
    nodes = (each for each in gc.get_objects() if type(each) is Node)
    return sum(node._tree is engine.tree and node._finalizer.alive for node in nodes)
