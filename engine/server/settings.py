"""How a server behaves, whatever its model is."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

COMPATS = ("marco-o1", "marco-o1-stream")
"""The interfaces of Marco-o1's published clients; the second has its chats as streams of plain text."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Names, keys and limits.

    Attributes:
        names: What requests may call the model; the first is the one in answers.
        host: The address that it listens at.
        api_keys: Any of them opens every route; none leaves them open.
        max_requests: Requests that are open at a time; more get 429.
        max_body: Bytes of a request.
        max_choices: Samples that one request may ask for, over all its prompts.
        max_tokens: New tokens that one sample may have; None for the model's context.
        max_logprobs: Most probable tokens that may be asked for in each place.
        request_timeout: Seconds until a request is given up.
        body_timeout: Seconds until a request has to be read.
        drain_timeout: Seconds that open requests get when the server ends.
        lease: Seconds that a branch lives when nobody uses it.
        max_leases: Branches that live at a time.
        compat: Which of `COMPATS` is there as well.
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
        """Whether only this machine's programs reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
