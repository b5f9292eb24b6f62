"""Prompts in the forms that vLLM accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NotRequired, TypedDict

from ...checking import shown
from ...errors import InputError


class TextPrompt(TypedDict):
    """A prompt as text."""

    prompt: str


class TokensPrompt(TypedDict):
    """A prompt as token ids; `prompt` is only passed on to the output."""

    prompt_token_ids: Sequence[int]
    prompt: NotRequired[str]


Prompt = str | Sequence[int] | TextPrompt | TokensPrompt


class ParsedPrompt(NamedTuple):
    """A prompt: `text`, `token_ids`, or both; if it has both, the token ids are used."""

    text: str | None
    token_ids: Sequence[int] | None


def parse_prompts(
    prompts: Prompt | Sequence[Prompt] | None, token_ids: Sequence[int] | Sequence[Sequence[int]] | None
) -> list[ParsedPrompt]:
    """The prompts of a call.

    Args:
        prompts: One prompt or several: texts, token ids, or dictionaries.
        token_ids: The token ids of one prompt or several, as older scripts pass them.

    Raises:
        InputError: They are something else.
    """
    given = prompts if token_ids is None else token_ids
    if given is None:
        raise InputError("generate needs prompts: pass a text, token ids, or a list of them")
    if isinstance(given, str | Mapping) or _are_ids(given):
        return [_parse_prompt(given)]
    return [_parse_prompt(each) for each in given]


def _parse_prompt(prompt: object) -> ParsedPrompt:
    if isinstance(prompt, str):
        return ParsedPrompt(prompt, None)
    if isinstance(prompt, Sequence) and _are_ids(prompt):
        return ParsedPrompt(None, prompt)
    if isinstance(prompt, Mapping):
        fields = {name: value for name, value in prompt.items() if value is not None}
        if other := sorted(fields.keys() - {"prompt", "prompt_token_ids"}):
            raise InputError(f"a prompt with {', '.join(other)}: marcot reads text and token ids only")
        if fields:
            return ParsedPrompt(fields.get("prompt"), fields.get("prompt_token_ids"))
    raise InputError(f"prompt {shown(prompt)}: must be text, token ids, a TextPrompt or a TokensPrompt")


def _are_ids(prompt: object) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], int)
