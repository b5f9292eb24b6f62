"""One trial: a checkpoint is loaded and used in every way, and must either work or be refused properly."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
from marcot.engine import Engine, Node, Sampling
from marcot.engine.errors import IntegrityError
from marcot.kernels import MarcotError
from marcot.model import ChatTemplateError, load_checkpoint

_TEXTS = (
    "She sold 48 clips in 2024,\n\n  don't you?",
    "<|im_start|>小明 cafe\u0301 🌳<|im_end|>\t<think>",
    "a" * 40 + "!" + " " * 40 + "x\r\n" * 9,
    "",
)
_GREEDY = Sampling(temperature=0.0, max_tokens=4, ignore_eos=True)
_DRAWN = Sampling(temperature=0.9, top_k=9, top_p=0.9, max_tokens=4, seed=5, stop=("clips",))
_MOST_CHARACTERS = 1500


class FindingError(Exception):
    """The checkpoint neither worked nor was refused properly."""


def attempt(path: Path) -> str:
    """Load and use the checkpoint `path`; returns `"works"`, or the class of the error that refused it.

    Raises:
        FindingError: Neither happened.
    """
    try:
        with load_checkpoint(path) as checkpoint:
            checkpoint.fingerprint()
        engine = Engine.load(path, threads=1, kv_tokens=512)
    except MarcotError as error:
        _check_message(error, str(path))
        return f"refused: {type(error).__name__}"
    except BaseException as error:
        raise _raw("loading", error) from error
    try:
        return _use(engine)
    except FindingError:
        raise
    except BaseException as error:
        raise _raw("using", error) from error


def _use(engine: Engine) -> str:
    refused = ""
    for text in _TEXTS if engine.tokenizer else ():
        try:
            engine.tokenizer.decode(engine.tokenizer.encode(text))
        except MarcotError as error:
            _check_message(error)
            refused = f"refused in use: {type(error).__name__}"
    prompts: list[str | list[int]] = [[0, engine.config.vocab_size - 1, engine.config.vocab_size // 2, 1]]
    try:
        if engine.tokenizer:
            prompts += _TEXTS[:2]
            prompts.append(engine.chat_ids("How many clips?"))
    except MarcotError as error:
        _check_message(error)
        refused = f"refused in use: {type(error).__name__}"
    for prompt in prompts:
        try:
            _generate(engine, prompt)
        except MarcotError as error:
            _check_message(error)
            refused = f"refused in use: {type(error).__name__}"
    engine.tree.check_integrity()
    return refused or "works"


def _generate(engine: Engine, prompt: str | list[int]) -> None:
    with engine.prefill(prompt) as node:
        drawn = [engine.expand(node, 2, sampling) for sampling in (_GREEDY, _DRAWN, _GREEDY, _DRAWN)]
        [score] = engine.score([prompt])
    for kids in drawn:
        for kid in kids:
            _check_numbers(kid, engine.config.vocab_size)
    for once, again in zip(drawn[0] + drawn[1], drawn[2] + drawn[3], strict=True):
        if once.text != again.text or not np.array_equal(once.token_ids, again.token_ids):
            raise FindingError(f"unstable: {once.text!r} and then {again.text!r}")
        if not np.array_equal(once.logprobs, again.logprobs):
            raise FindingError(f"unstable: {once.logprobs} and then {again.logprobs}")
    if not (np.isfinite(score.logprobs[1:]).all() and np.isfinite(score.top_logprobs[1:]).all()):
        raise FindingError(f"silent NaN: scores of {score.logprobs}")


def _check_numbers(node: Node, vocab_size: int) -> None:
    if not all(0 <= id < vocab_size for id in node.token_ids):
        raise FindingError(f"silent NaN: tokens {node.token_ids}")
    for numbers in (node.logprobs, node.top_logprobs, node.confidences):
        if not np.isfinite(numbers).all():
            raise FindingError(f"silent NaN: {numbers}")


def _check_message(error: MarcotError, path: str = "") -> None:
    """Check that a message is readable and names the file it is about."""
    message = str(error)
    if isinstance(error, IntegrityError):
        raise FindingError(f"raw: {error!r}")
    if len(message) > _MOST_CHARACTERS:
        raise FindingError(f"message: {len(message)} characters: {message:.200}")
    if not all(character.isprintable() or character == "\n" for character in message):
        raise FindingError(f"message: not printable: {message!r:.300}")
    if path not in message and not isinstance(error, ChatTemplateError):
        raise FindingError(f"message: names no file: {message:.300}")


def _raw(when: str, error: BaseException) -> FindingError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzzing" not in frame.filename]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[::-1][:3])
    return FindingError(f"raw: {when}: {type(error).__name__} at {where}: {str(error)[:200]!r}")
