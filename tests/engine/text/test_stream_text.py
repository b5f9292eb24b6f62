"""The text of a sample while it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from marcot import Engine, Node, Sampling

PROMPT = "How many clips?"


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=4096)


def streamed(engine: Engine, sampling: Sampling, first: int = 0) -> tuple[list[str], Node]:
    """The pieces, and the final child node."""
    *pieces, child = engine.stream_text(engine.prefill(PROMPT), sampling, first=first)
    assert isinstance(child, Node)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    return [str(piece) for piece in pieces], child


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("first", [0, 3])
def test_pieces_make_up_the_text_of_the_same_sample(engine: Engine, seed: int, first: int) -> None:
    sampling = Sampling(temperature=2.0, top_k=0, top_p=1.0, max_tokens=41, seed=seed)
    pieces, child = streamed(engine, sampling, first)
    [expected] = engine.expand(engine.prefill(PROMPT), 1, sampling, first=first)
    assert child.token_ids.tolist() == expected.token_ids.tolist()
    assert child.logprobs.tolist() == expected.logprobs.tolist()
    assert (child.text, child.finish_reason) == (expected.text, expected.finish_reason)
    assert "".join(pieces) == child.text
    assert len(pieces) > 5


@pytest.mark.parametrize("keep", [False, True], ids=["cut", "kept"])
@pytest.mark.parametrize("begin", range(2, 40, 3))
def test_no_part_of_a_stop_string_is_streamed(engine: Engine, begin: int, keep: bool) -> None:
    free = Sampling(temperature=1.0, max_tokens=60, seed=3, ignore_eos=True)
    _, unstopped = streamed(engine, free)
    stop = unstopped.text[begin : begin + 4]
    other = stop + "never"  # a stop string that begins like the text and is never completed
    sampling = Sampling(temperature=1.0, max_tokens=60, seed=3, ignore_eos=True, stop=(other, stop), include_stop=keep)
    pieces, child = streamed(engine, sampling)
    assert child.finish_reason == "stop"
    assert "".join(pieces) == child.text
    assert child.text.startswith(unstopped.text[: unstopped.text.index(stop)])


def test_the_first_piece_comes_before_the_rest_is_drawn(engine: Engine) -> None:
    before = engine.usage.generated_tokens
    events = engine.stream_text(engine.prefill(PROMPT), Sampling(max_tokens=400, ignore_eos=True))
    assert isinstance(next(events), str)
    assert engine.usage.generated_tokens - before < 10


def test_one_that_is_left_leaves_nothing_behind(engine: Engine) -> None:
    with engine.prefill(PROMPT) as node:
        events = engine.stream_text(node, Sampling(max_tokens=400, ignore_eos=True))
        next(events)
        events.close()  # type: ignore[attr-defined]
        engine.tree.check_integrity()
        [child] = engine.expand(node, 1, Sampling(max_tokens=3))
        assert len(child.token_ids) == 3


def test_without_a_tokenizer_there_is_the_child_alone(tiny_checkpoint: Callable[..., Path]) -> None:
    mute = Engine.load(str(tiny_checkpoint("qwen2")), kv_tokens=512)
    [child] = mute.stream_text(mute.prefill([5, 7]), Sampling(max_tokens=4, ignore_eos=True))
    assert isinstance(child, Node)
    assert len(child.token_ids) == 4
