"""Prompts made by the checkpoint's chat template: the same text as by transformers, one BOS, any number of turns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine, InputError
from marcot.model import ChatTemplateError
from support.checkpoints.tiny import train_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTION = {"role": "user", "content": "How many clips?"}
TURNS = [
    {"role": "system", "content": "Be brief."},
    QUESTION,
    {"role": "assistant", "content": "48"},
    {"role": "user", "content": "And in May?"},
]
CONVERSATIONS = {"one turn": [QUESTION], "several": TURNS[1:], "with a system message": TURNS}


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that puts BOS before every text, and a template that also writes it, as in Llama 3."""
    path = Path(shutil.copytree(tiny_checkpoint("smollm2"), tmp_path_factory.mktemp("chat") / "model"))
    backend = train_tokenizer(330)
    backend.post_processor = TemplateProcessing("<|endoftext|> $0", special_tokens=[("<|endoftext|>", 0)])
    theirs = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|im_end|>")
    theirs.chat_template = LLAMA_3
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.load(str(folder), kv_tokens=4096, threads=1)


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_same_ids_as_transformers(messages: list[dict[str, str]], engine: Engine, folder: Path) -> None:
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert engine.chat_ids(messages) == ids
    assert ids.count(0) == 1


def test_a_question_is_a_conversation_of_one_message(engine: Engine) -> None:
    assert engine.chat_ids("How many clips?") == engine.chat_ids([QUESTION]) == engine.chat_ids(QUESTION)
    assert engine.chat_ids(TURNS[1:], "Be brief.") == engine.chat_ids(TURNS)


def test_a_rendered_conversation_gets_no_second_bos(engine: Engine) -> None:
    assert engine.tokenizer is not None
    rendered = engine.tokenizer.chat(TURNS)
    assert rendered.startswith("<|endoftext|>")
    expected = engine.chat_ids(TURNS)
    assert list(engine.prefill(rendered).path_ids) == expected
    [score] = engine.score([rendered])
    assert list(score.token_ids) == expected
    assert list(engine.prefill("How").path_ids) == [0, *engine.tokenizer.encode("How")]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        pytest.param([], "the conversation is empty", id="empty"),
        pytest.param(["hi"], "message 1 of the conversation", id="text"),
        pytest.param([QUESTION, {"role": "assistant"}], "message 2 of the conversation", id="no content"),
        pytest.param([QUESTION, {"content": "hi"}], "message 2 of the conversation", id="no role"),
        pytest.param(None, "None: must be a question or the messages of a conversation", id="nothing"),
    ],
)
def test_no_conversation(chat: Any, message: str, engine: Engine) -> None:
    with pytest.raises(InputError, match=message):
        engine.chat_ids(chat)


def test_messages_are_not_a_prompt_yet(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"is not a token id: use Engine\.chat_ids to turn the messages of a chat"):
        engine.prefill(TURNS)  # type: ignore[arg-type]


def test_two_system_messages(engine: Engine) -> None:
    with pytest.raises(InputError, match="already has a system message"):
        engine.chat_ids(TURNS, "Be brief.")


def test_conversation_without_a_template(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "plain"))
    (path / "chat_template.jinja").unlink()
    engine = Engine.load(str(path), kv_tokens=1024, threads=1)
    assert engine.tokenizer is not None
    assert engine.chat_ids("How?", "Be brief.") == [0, *engine.tokenizer.encode("Be brief.\n\nHow?")]
    with pytest.raises(ChatTemplateError, match="no chat template"):
        engine.chat_ids(TURNS)
