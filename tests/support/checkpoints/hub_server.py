"""A stand-in for the Hugging Face hub: the few routes that a download needs, over real HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Repositories = Mapping[str, Mapping[str, Mapping[str, bytes]]]
"""Files by repository, revision and name."""


@contextmanager
def hub_server(repositories: Repositories) -> Iterator[str]:
    """Serve `repositories` on a free local port and yield the address; `main` is the default revision."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, *, body: bool) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._describe("/".join(parts[2:4]), parts[4:])
            elif len(parts) >= 5 and parts[2] == "resolve":
                self._send_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
            else:
                self._send(404, {}, b"", body)

        def _describe(self, repository: str, rest: list[str]) -> None:
            revision = rest[1] if len(rest) > 1 else "main"
            files = self._files(repository, revision)
            if files is None:
                return
            if rest[:1] == ["tree"]:
                entries = [{"type": "file", "oid": _id(c), "size": len(c), "path": name} for name, c in files.items()]
                content: object = entries
            else:
                siblings = [{"rfilename": name} for name in files]
                content = {"id": repository, "sha": _commit(repository, revision), "siblings": siblings}
            self._send(200, {"Content-Type": "application/json"}, json.dumps(content).encode(), True)

        def _send_file(self, repository: str, revision: str, name: str, body: bool) -> None:
            files = self._files(repository, revision)
            if files is None:
                return
            if name not in files:
                self._send(404, {"X-Error-Code": "EntryNotFound"}, b"", body)
                return
            headers = {"ETag": f'"{_id(files[name])}"', "X-Repo-Commit": _commit(repository, revision)}
            self._send(200, headers, files[name], body)

        def _files(self, repository: str, revision: str) -> Mapping[str, bytes] | None:
            revisions = repositories.get(repository)
            if revisions is None:
                self._send(404, {"X-Error-Code": "RepoNotFound"}, b"", True)
                return None
            for name, files in revisions.items():
                if revision in (name, _commit(repository, name)):
                    return files
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"", True)
            return None

        def _send(self, status: int, headers: Mapping[str, str], content: bytes, body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body and self.command != "HEAD":
                self.wfile.write(content)

    def _commit(repository: str, revision: str) -> str:
        content = repr((repository, revision)).encode()
        return revision if len(revision) == 40 else _id(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _id(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
