"""Options by the names that they had while commands called the same thing differently; they are taken until 0.2."""

from __future__ import annotations

_NOW = {
    "models": "model",
    "strategies": "strategy",
    "data": "input",
    "prompts": "input",
    "budget-tokens": "max-tokens",
}
_NOW_OF_SCORE = {"top-k": "top-logprobs"}


def present(name: str) -> str:
    """What the option `name`, which is written without its dashes, is called now."""
    return _NOW.get(name, name)


def present_of_score(name: str) -> str:
    """The same for `marcot score`, where `--top-k` was what `--top-logprobs` is elsewhere."""
    return _NOW_OF_SCORE.get(name) or present(name)
