"""The server process of the benchmark; when it ends, it checks the KV tree and reports what is left."""

from __future__ import annotations

import json
import sys

from marcot.engine import Engine
from marcot.engine.server.serve import listening_socket, serve
from marcot.engine.server.settings import ServerSettings

KV_TOKENS = 16_384
"""Tokens of the KV cache: few enough that it is soon full and branches are preempted."""

LEASE_S = 5.0
"""Seconds that a branch is held; short, because some clients of the load never release theirs."""


def main() -> None:
    """Serve MODEL with THREADS until SIGTERM. Prints the URL, and at the end what was left in the KV tree."""
    model, threads = sys.argv[1], int(sys.argv[2])
    engine = Engine.load(model, threads=threads, kv_tokens=KV_TOKENS)
    with listening_socket("127.0.0.1", 0) as at:
        serve(
            engine, ServerSettings(names=("model",), lease=LEASE_S), at, lambda url: print(json.dumps(url), flush=True)
        )
    engine.tree.check_integrity()
    handles = sum(node.handles for node in engine.tree.nodes())
    print(json.dumps({"handles": handles, "readers": sum(root.readers for root in engine.tree.roots)}), flush=True)


if __name__ == "__main__":
    main()
