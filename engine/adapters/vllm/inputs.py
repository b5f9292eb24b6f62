"""Prompts in the forms that vLLM accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

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


def parse_prompts(
    prompts: Prompt | Sequence[Prompt] | None, token_ids: Sequence[int] | Sequence[Sequence[int]] | None
) -> list[TextPrompt | TokensPrompt]:
    """The prompts of a call as a list of dictionaries.

    Args:
        prompts: One prompt or several: texts, token ids, or dictionaries.
        token_ids: The token ids of one prompt or several, as older scripts pass them.

    Raises:
        InputError: They are something else.
    """
    if token_ids is not None:
        prompts = token_ids
    if prompts is None:
        raise InputError("generate needs prompts: pass a text, token ids, or a list of them")
    if isinstance(prompts, str | Mapping) or _are_ids(prompts):
        return [_parse_prompt(prompts)]
    return [_parse_prompt(each) for each in prompts]


def _parse_prompt(prompt: object) -> TextPrompt | TokensPrompt:
    if isinstance(prompt, str):
        return TextPrompt(prompt=prompt)
    if isinstance(prompt, Mapping):
        if extra := sorted(
            prompt.keys() - {"prompt", "prompt_token_ids"} - {k for k, v in prompt.items() if v is None}
        ):
            raise InputError(f"prompt with {', '.join(map(str, extra))}: marcot reads text and token ids only")
        if prompt.get("prompt_token_ids") is not None:
            told = {"prompt": prompt["prompt"]} if isinstance(prompt.get("prompt"), str) else {}
            return TokensPrompt(prompt_token_ids=prompt["prompt_token_ids"], **told)
        if isinstance(prompt.get("prompt"), str):
            return TextPrompt(prompt=prompt["prompt"])
    elif isinstance(prompt, Sequence) and _are_ids(prompt):
        return TokensPrompt(prompt_token_ids=prompt)
    raise InputError(f"prompt {shown(prompt)}: must be text, token ids, a TextPrompt or a TokensPrompt")


def _are_ids(prompt: object) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], int)
