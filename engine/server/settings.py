"""Settings of a server that do not depend on its model."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

COMPATS = ("marco-o1", "marco-o1-stream")
"""The interfaces of Marco-o1's published clients; the second streams its chats as plain text."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Names, keys and limits.

    Attributes:
        names: Names by which requests may call the model; answers use the first.
        host: The address to listen on.
        api_keys: Valid API keys; if empty, no key is needed.
        max_requests: Most open requests; further ones get status 429.
        max_body: Most bytes of a request body.
        max_choices: Most samples of one request, over all its prompts.
        max_tokens: Most new tokens of one sample; None for the model's context.
        max_logprobs: How many of the most probable tokens a request may ask for per position.
        request_timeout: Seconds after which a request is cancelled.
        body_timeout: Seconds within which a request body must arrive.
        drain_timeout: Seconds that open requests have to end when the server shuts down.
        lease: Seconds after its last use at which a branch is released.
        max_leases: Most branches that clients may hold at a time.
        compat: An interface of `COMPATS` to serve as well; None for none.
    """

    names: tuple[str, ...]
    host: str = "127.0.0.1"
    api_keys: tuple[str, ...] = ()
    max_requests: int = 1024
    max_body: int = 2**22
    max_choices: int = 1024
    max_tokens: int | None = None
    max_logprobs: int = 64
    request_timeout: float = 600.0
    body_timeout: float = 30.0
    drain_timeout: float = 30.0
    lease: float = 300.0
    max_leases: int = 4096
    compat: str | None = None

    @property
    def local(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether `host` is a loopback address or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
