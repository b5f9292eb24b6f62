"""Patterns that texts in requests must match, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping

BRANCH_ID = r"^br-[0-9a-f]{24}$"

REQUEST_ID = r"^[A-Za-z0-9._:-]{1,128}$"

ACTION = r"^(step|token|marco-v2|mini-step-[1-9][0-9]{0,4}|uncertain-[1-9][0-9]{0,2})$"
"""Only marcot's built-in actions: requests cannot name files or code."""

_VALUE = r"(marco|marco-k([1-9]|[1-5][0-9]|6[0-4])|deepconf-group|deepconf-lowest|deepconf-tail|logprob|ground-truth)"
_WEIGHT = r"[0-9]{0,4}\.?[0-9]{1,4}"

VALUE = rf"^({_VALUE}|{_WEIGHT}\*{_VALUE}(\+{_WEIGHT}\*{_VALUE}){{0,7}})$"
"""Marcot's built-in values, and weighted sums of them."""

MEANINGS: Mapping[str, str] = {
    BRANCH_ID: "must be the id of a branch, as POST /v1/branches returns it",
    REQUEST_ID: "must be 1 to 128 letters, digits, dots, colons, hyphens and underscores",
    ACTION: "must be step, token, marco-v2, mini-step-N or uncertain-N",
    VALUE: "must be marco, marco-kN, deepconf-group, deepconf-lowest, deepconf-tail, logprob or ground-truth, or a sum "
    "such as 0.7*marco+0.3*logprob",
}
"""What to write, by pattern."""
