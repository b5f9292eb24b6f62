"""The options that say how a server behaves."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...server.settings import ServerSettings

_ADDRESS = "Address and access"
_LIMITS = "Limits"

KEY_VARIABLE = "MARCOT_API_KEY"
"""The environment variable with an API key."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of `marcot serve`. See `ServerSettings` for what they mean."""

    host: Annotated[
        str,
        typer.Option(help="Address to listen on; by default only this machine can reach it.", rich_help_panel=_ADDRESS),
    ] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65_535, rich_help_panel=_ADDRESS)
    ] = 8000
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File of API keys, one per line; every request needs one of them. {KEY_VARIABLE} in the environment "
            "may hold one more.",
            rich_help_panel=_ADDRESS,
        ),
    ] = None
    no_api_key: Annotated[
        bool,
        typer.Option("--no-api-key", help="Serve everybody who can reach --host.", rich_help_panel=_ADDRESS),
    ] = False
    served_model_name: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of the model in requests; repeat it for more names. By default --model without its folder.",
            rich_help_panel=_ADDRESS,
        ),
    ] = None
    compat: Annotated[
        str | None,
        typer.Option(
            help="Also serve another interface: marco-o1 is that of Marco-o1's published clients (POST /generate and "
            "/chat/), marco-o1-stream the same with chats as streams of plain text.",
            rich_help_panel=_ADDRESS,
        ),
    ] = None
    max_queue: Annotated[
        int, typer.Option(help="Maximum open requests; further ones get status 429.", min=1, rich_help_panel=_LIMITS)
    ] = 1024
    max_body: Annotated[
        int,
        typer.Option(help="Maximum bytes of a request; larger ones get status 413.", min=1, rich_help_panel=_LIMITS),
    ] = 2**22
    max_n: Annotated[
        int, typer.Option(help="Maximum samples of one request, over all its prompts.", min=1, rich_help_panel=_LIMITS)
    ] = 1024
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Maximum new tokens of one sample; by default the model's context.", min=1, rich_help_panel=_LIMITS
        ),
    ] = None
    max_logprobs: Annotated[
        int,
        typer.Option(
            help="How many of the most probable tokens a request may ask for per position.",
            min=0,
            rich_help_panel=_LIMITS,
        ),
    ] = 64
    request_timeout: Annotated[
        float, typer.Option(help="Seconds after which a request is cancelled.", min=0.001, rich_help_panel=_LIMITS)
    ] = 600.0
    drain_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds that open requests have to end after Ctrl-C or SIGTERM.", min=0, rich_help_panel=_LIMITS
        ),
    ] = 30.0
    lease: Annotated[
        float,
        typer.Option(
            help="Seconds after its last use at which a branch is released.", min=0.001, rich_help_panel=_LIMITS
        ),
    ] = 300.0
    max_branches: Annotated[
        int, typer.Option(help="Maximum branches that clients may hold at a time.", min=1, rich_help_panel=_LIMITS)
    ] = 4096

    def settings(self, model: str) -> ServerSettings:
        """The settings of a server for `model`.

        Raises:
            InputError: The server would be open to everybody, an API key is unusable, or an option is invalid.
        """
        from ...errors import InputError
        from ...server.settings import COMPATS, ServerSettings, is_loopback

        if self.compat not in (None, *COMPATS):
            raise InputError(f"--compat {self.compat}: must be {' or '.join(COMPATS)}")
        for option, seconds in (
            ("--request-timeout", self.request_timeout),
            ("--drain-timeout", self.drain_timeout),
            ("--lease", self.lease),
        ):
            if not math.isfinite(seconds):
                raise InputError(f"{option} {seconds}: must be a finite number of seconds")
        if "" in (self.served_model_name or ()):
            raise InputError("--served-model-name is empty: leave it out to use the name of --model")
        keys = self._keys()
        if not (keys or self.no_api_key or is_loopback(self.host)):
            raise InputError(
                f"--host {self.host}: others can reach it: give --api-key-file, {KEY_VARIABLE} or --no-api-key"
            )
        return ServerSettings(
            names=tuple(
                self.served_model_name or [Path(os.path.abspath(model)).name if Path(model).exists() else model]
            ),
            host=self.host,
            api_keys=keys,
            max_requests=self.max_queue,
            max_body=self.max_body,
            max_choices=self.max_n,
            max_tokens=self.max_tokens,
            max_logprobs=self.max_logprobs,
            request_timeout=self.request_timeout,
            drain_timeout=self.drain_timeout,
            lease=self.lease,
            max_leases=self.max_branches,
            compat=self.compat,
        )

    def _keys(self) -> tuple[str, ...]:
        from ...errors import InputError

        keys = [os.environ.get(KEY_VARIABLE, "")]
        if self.api_key_file is not None:
            try:
                keys += self.api_key_file.read_text("utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise InputError(f"{self.api_key_file}: cannot be read: {reason}") from error
        keys = [key.strip() for key in keys if key.strip()]
        if self.api_key_file is not None and not keys:
            raise InputError(f"{self.api_key_file}: holds no key; openssl rand -hex 24 makes one")
        if any(not (key.isascii() and key.isprintable()) or " " in key for key in keys):
            raise InputError("an API key must be printable ASCII without spaces, as HTTP carries nothing else")
        return tuple(keys)
