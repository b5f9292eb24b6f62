"""Turns the prompts and conversations of requests into token ids."""

from __future__ import annotations

import asyncio
import secrets

from ...model import Tokenizer
from .errors import RequestError
from .schemas.chat import PromptChat
from .service import Service

_RESERVED = frozenset({"messages", "now", "add_generation_prompt", "tools", "documents"})
"""Template variables that have their own request fields, or belong to unsupported features."""


async def text_ids(service: Service, text: str, add_special_tokens: bool = True) -> list[int]:
    """Token ids of a text; special tokens that are written out in it are recognised.

    Raises:
        RequestError: The model has no tokenizer.
        TokenizerError: The text cannot be encoded.
    """
    tokenizer = service.tokenizer
    bos = add_special_tokens and tokenizer.adds_bos
    return await asyncio.to_thread(tokenizer.encode, text, bos=bos)


async def prompt_ids(service: Service, prompt: str | list[int], add_special_tokens: bool = True) -> list[int]:
    """Token ids of a prompt, which may already be token ids."""
    return await text_ids(service, prompt, add_special_tokens) if isinstance(prompt, str) else prompt


async def chat_ids(service: Service, chat: PromptChat) -> list[int]:
    """Token ids of a conversation in the model's chat format.

    Raises:
        RequestError: The request is invalid.
        ChatTemplateError: The template refuses the conversation, or the model has no template.
    """
    text = await asyncio.to_thread(chat_text, service.tokenizer, chat)
    return await text_ids(service, text, chat.add_special_tokens)


def chat_text(tokenizer: Tokenizer, chat: PromptChat) -> str:
    """Render a conversation with the model's chat template; see `chat_ids`."""
    variables = chat.chat_template_kwargs or {}
    if reserved := sorted(_RESERVED & variables.keys()):
        raise RequestError(
            f"chat_template_kwargs: {reserved[0]} has a field of its own, or is not supported; leave it out",
            param="chat_template_kwargs",
        )
    messages = [message.for_template() for message in chat.messages]
    if not chat.continue_final_message:
        opening = True if chat.add_generation_prompt is None else chat.add_generation_prompt
        return tokenizer.chat(messages, add_generation_prompt=opening, **variables)
    if chat.add_generation_prompt:
        raise RequestError("continue_final_message: set add_generation_prompt to false", param="continue_final_message")
    # Append a mark that no message contains and end the prompt there, whatever the template writes after a message.
    mark = secrets.token_hex(16)
    last = messages[-1]
    text = tokenizer.chat(
        [*messages[:-1], last | {"content": last["content"] + mark}], add_generation_prompt=False, **variables
    )
    if text.count(mark) != 1:
        raise RequestError(
            "continue_final_message: the model's chat template does not show the last message as it is; "
            "send the prompt to /v1/completions",
            param="continue_final_message",
        )
    return text.partition(mark)[0]


def truncated(ids: list[int], keep: int | None, max_tokens: int | None, context: int) -> list[int]:
    """The last `keep` tokens of a prompt: None keeps all, -1 as many as leave room for `max_tokens`.

    Raises:
        RequestError: `keep` is 0.
    """
    if keep is None:
        return ids
    if keep == 0:
        raise RequestError("truncate_prompt_tokens: must be at least 1, or -1", param="truncate_prompt_tokens")
    if keep == -1:
        keep = max(context - (max_tokens or 1), 1)
    return ids[max(len(ids) - keep, 0) :]
