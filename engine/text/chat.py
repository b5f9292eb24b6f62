"""Renders a question or a conversation with the checkpoint's chat template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date as Date
from datetime import datetime, time

from ...model import ChatTemplateError, Message, Tokenizer
from ..errors import InputError


def chat_ids(
    tokenizer: Tokenizer | None, chat: str | Sequence[Message], system: str | None, date: Date | None = None
) -> list[int]:
    """Token ids of `chat` in the checkpoint's chat format, up to where the answer begins.

    Args:
        tokenizer: The checkpoint's.
        chat: A question, or the messages of a conversation. Without a chat template, a question is plain text.
        system: System message; None for the template's own.
        date: The date that the template shows as today's; None for the current time.

    Raises:
        InputError: There is no tokenizer, or `chat` is not a conversation.
        ChatTemplateError: The template refuses the messages, or a conversation has no template.
    """
    if tokenizer is None:
        raise InputError("this checkpoint has no tokenizer: pass token ids instead of a question")
    if isinstance(chat, str) and tokenizer.chat_template is None:
        text = chat if system is None else f"{system}\n\n{chat}"
        return tokenizer.encode(text, bos=tokenizer.adds_bos)
    messages = [{"role": "user", "content": chat}] if isinstance(chat, str) else _checked(chat)
    if system is not None:
        if messages[0]["role"] == "system":
            raise InputError("the conversation already has a system message: remove it, or leave out the other one")
        messages = [{"role": "system", "content": system}, *messages]
    now = None if date is None else datetime.combine(date, time.min)
    try:
        return tokenizer.encode(tokenizer.chat(messages, now=now))
    except ChatTemplateError as error:
        odd = [number for number, message in enumerate(messages, 1) if not isinstance(message["content"], str)]
        if not odd:
            raise
        message = f"{error} (the content of message {odd[0]} is not text: give one text, if the template expects that)"
        raise ChatTemplateError(message) from error


def _checked(chat: Sequence[Message]) -> list[Message]:
    """The messages, after a check of role and content; the template reads all other keys."""
    if not isinstance(chat, Iterable):
        raise InputError(f"{chat!r:.100}: must be a question or the messages of a conversation")
    messages: list[Message] = [chat] if isinstance(chat, Mapping) else list(chat)
    if not messages:
        raise InputError("the conversation is empty: give at least one message")
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str) or "content" not in message:
            raise InputError(f"message {number} of the conversation must be an object with a role and a content")
    return messages
