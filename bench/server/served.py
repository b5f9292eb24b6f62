"""A server in a process of its own, which looks at its books when it ends."""

from __future__ import annotations

import json
import sys

from marcot.engine import Engine
from marcot.engine.server.serve import bound_socket, serve
from marcot.engine.server.settings import ServerSettings

KV_TOKENS = 16_384
"""Few enough that the cache is soon full, and that branches lose their K and V to others."""

LEASE_S = 5.0
"""Seconds that a branch is held: clients that forget theirs are part of the load."""


def main() -> None:
    """Serve MODEL with so many THREADS until SIGTERM. One line says where, a last one what was left behind."""
    model, threads = sys.argv[1], int(sys.argv[2])
    engine = Engine.load(model, threads=threads, kv_tokens=KV_TOKENS)
    with bound_socket("127.0.0.1", 0) as at:
        serve(
            engine, ServerSettings(names=("model",), lease=LEASE_S), at, lambda url: print(json.dumps(url), flush=True)
        )
    engine.tree.check_integrity()
    handles = sum(node.handles for node in engine.tree.nodes())
    print(json.dumps({"handles": handles, "readers": engine.tree.root.readers}), flush=True)


if __name__ == "__main__":
    main()
