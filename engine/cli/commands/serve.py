"""`marcot serve`."""

from __future__ import annotations

from ..options import common as options
from ..options.groups import grouped
from ..options.model import ModelOptions
from ..options.server import ServerOptions
from ..streams import say

_MISSING = "marcot serve needs {name}, which is not installed: pip install 'marcot[server]'"


@grouped
def serve(
    *,
    model: options.ModelOption,
    server: ServerOptions,
    loading: ModelOptions,
) -> None:
    """Serve a model over HTTP: OpenAI's completions and chats, branches of a tree, and whole searches.

    Ctrl-C or SIGTERM ends it once the open requests have been answered. docs/server.md lists the routes;
    GET /openapi.json describes them.

    For example:

      marcot serve -m smollm2-135m

      marcot serve -m ./my-checkpoint --port 8001 --host 0.0.0.0 --api-key-file keys.txt --compat marco-o1

      curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json'
      -d '{"messages": [{"role": "user", "content": "Name three primes."}]}'
    """
    from ...errors import InputError

    try:
        from ...server.placeholder import Placeholder
        from ...server.serve import listening_socket
        from ...server.serve import serve as serve_engine
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("marcot"):
            raise
        raise InputError(_MISSING.format(name=error.name)) from error
    settings = server.settings(model)
    at = listening_socket(server.host, server.port)
    with at:
        with Placeholder(at):
            engine = loading.load(model)
        serve_engine(engine, settings, at, say)
