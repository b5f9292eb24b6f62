"""A stand-in for llama-server, whose `/completion` answers with token ids that show which prompt they continue.

Like llama-server when a token ends inside a character, it gives no table for some tokens (the first two), and draws one
token more than it should.
"""

from __future__ import annotations

import json
import math
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROBABILITIES = (0.5, 0.2, 0.1, 0.1, 0.05)
"""Probabilities of the five best tokens at every position; the best one is always drawn."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({"status": "ok"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["ignore_eos"]
        assert asked["n_probs"] == len(PROBABILITIES)
        tokens = [sum(asked["prompt"]) + number for number in range(asked["n_predict"] + 1)]
        best = [{"logprob": math.log(probability)} for probability in PROBABILITIES]
        table = [{"id": token, **best[0], "top_logprobs": best} for token in tokens]
        self._answer({"tokens": tokens, "completion_probabilities": table[2:]})

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
