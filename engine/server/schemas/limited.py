"""Fields whose largest value depends on the server; the OpenAPI description of a running server has the numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

Limit = Literal["vocabulary", "samples", "new tokens", "top logprobs"]
"""What limits a field: the last token id, `--max-n`, `--max-tokens`, `--max-logprobs`."""

LIMIT = "x-limit"
"""Key of a field's schema that names its limit, until the description replaces it by the number."""


def limited(by: Limit) -> dict[str, JsonValue]:
    """Mark a field as limited; an argument for `json_schema_extra`."""
    return {LIMIT: by}
