"""Where a branch ends, what its text is, and what a node can be asked."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from marcot.engine import Beam, Engine, InputError, Node, Sampling
from marcot.engine.errors import ReleasedNodeError, SamplingError

TEXT = "Natalia sold 48 clips in April, and then"


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True))


@pytest.fixture
def engine(folder: str) -> Iterator[Engine]:
    engine = Engine.load(folder, kv_tokens=8192)
    yield engine
    engine.tree.check_integrity()


def sampling(**overrides: object) -> Sampling:
    fields = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_tokens": 60, "ignore_eos": True, "seed": 5}
    return Sampling(**(fields | overrides))  # type: ignore[arg-type]


@pytest.fixture
def free(engine: Engine) -> Node:
    """A branch that nothing stops, which the others are compared with."""
    (node,) = engine.expand(engine.prefill(TEXT), 1, sampling())
    assert node.finish_reason == "length"
    assert engine.tokenizer is not None
    assert node.text == engine.tokenizer.decode(node.token_ids.tolist())
    return node


@pytest.mark.parametrize("length", [1, 2, 5], ids=lambda length: f"{length}-characters")
@pytest.mark.parametrize("include", [False, True], ids=["cut", "kept"])
def test_stop_string_ends_the_branch_across_token_borders(
    engine: Engine, free: Node, length: int, include: bool
) -> None:
    """Every substring of the free branch's text stops it at the first token that completes the substring."""
    assert engine.tokenizer is not None
    for begin in range(10, len(free.text) - length, 7):
        stop = free.text[begin : begin + length]
        if "\N{REPLACEMENT CHARACTER}" in stop:
            continue
        (node,) = engine.expand(engine.prefill(TEXT), 1, sampling(stop=(stop,), include_stop=include))
        end = free.text.index(stop)
        assert (node.finish_reason, node.stop_reason) == ("stop", stop)
        assert node.token_ids.tolist() == free.token_ids[: len(node.token_ids)].tolist()
        assert stop in engine.tokenizer.decode(node.token_ids.tolist())
        assert stop not in engine.tokenizer.decode(node.token_ids[:-1].tolist())
        if include:
            assert node.text.startswith(free.text[: end + length])
        else:
            assert node.text == free.text[:end]


def test_earliest_of_several_stop_strings_counts(engine: Engine, free: Node) -> None:
    first, second = free.text[20:23], free.text[8:12]
    (node,) = engine.expand(engine.prefill(TEXT), 1, sampling(stop=(first, second)))
    assert node.text == free.text[: min(free.text.index(first), free.text.index(second))]
    assert node.stop_reason == min(first, second, key=free.text.index)


def test_stop_string_in_the_prompt_does_not_count(engine: Engine) -> None:
    (node,) = engine.expand(engine.prefill(TEXT), 1, sampling(stop=(TEXT,)))
    assert (node.finish_reason, node.stop_reason) == ("length", None)


def test_stop_token_and_end_of_sequence(engine: Engine, free: Node) -> None:
    token = int(free.token_ids[17])
    first = free.token_ids.tolist().index(token)
    (stopped,) = engine.expand(engine.prefill(TEXT), 1, sampling(stop_token_ids=(token,)))
    assert (len(stopped.token_ids), stopped.finish_reason, stopped.stop_reason) == (first + 1, "stop", token)
    many = engine.expand(engine.prefill(TEXT), 40, sampling(ignore_eos=False, temperature=50.0))
    ended = [node for node in many if node.finish_reason == "eos"]
    assert ended, "some of 2,400 nearly uniform draws from 331 tokens are the end-of-sequence token"
    for node in ended:
        assert node.token_ids[-1] in engine.config.eos_token_ids
        assert node.stop_reason is None
        assert not set(engine.config.eos_token_ids) & set(node.token_ids[:-1].tolist())
        assert "<|im_end|>" not in node.text


def nearly_uniform(**overrides: object) -> Sampling:
    """Sampling that draws a special token now and then."""
    return sampling(temperature=50.0, **overrides)


def test_stop_string_that_is_a_special_token(engine: Engine) -> None:
    """The string ends a branch like its token id, alone and together with other strings."""
    prompt = engine.prefill(TEXT)
    by_text = engine.expand(prompt, 40, nearly_uniform(stop=("<|im_start|>",)))
    by_id = engine.expand(prompt, 40, nearly_uniform(stop_token_ids=(1,)))
    beside = engine.expand(prompt, 40, nearly_uniform(stop=("no such text", "<|im_start|>")))
    both = engine.expand(prompt, 40, nearly_uniform(stop=("<|im_start|>",), stop_token_ids=(1,)))
    stopped = 0
    for nodes in zip(by_text, by_id, beside, both, strict=True):
        assert len({(node.finish_reason, node.text, tuple(node.token_ids)) for node in nodes}) == 1
        if nodes[0].finish_reason == "stop":
            assert [node.stop_reason for node in nodes] == ["<|im_start|>", 1, "<|im_start|>", 1]
        stopped += nodes[0].finish_reason == "stop" and nodes[0].token_ids[-1] == 1
    assert stopped


def test_stop_string_at_the_end_of_sequence(engine: Engine) -> None:
    """If the token ends the branch anyway, the finish reason is `eos`."""
    for node in engine.expand(engine.prefill(TEXT), 40, nearly_uniform(stop=("<|im_end|>",), ignore_eos=False)):
        assert (node.finish_reason == "eos") == (2 in node.token_ids)


def test_stop_string_with_a_special_token_in_it(engine: Engine) -> None:
    prompt = engine.prefill(TEXT)
    with pytest.raises(SamplingError, match=r"<\|im_end\|> is a special token.*stop_token_ids=\(2,\)"):
        engine.expand(prompt, 3, sampling(stop=("done<|im_end|>",)))
    engine.tree.check_integrity()


@pytest.mark.parametrize("action", ["step", "mini-step-32"])
def test_search_with_a_stop_string_that_is_a_special_token(engine: Engine, action: str) -> None:
    """The stop string ends the chain, not just the action."""
    results = [
        engine.search(TEXT, Beam(rollouts=4, action=action, sampling=nearly_uniform(**stop)))[0]
        for stop in ({"stop": ("<|im_start|>",)}, {"stop_token_ids": (1,)})
    ]
    chains = [[(rollout.finish_reason, rollout.text) for rollout in result.rollouts] for result in results]
    assert chains[0] == chains[1]


def test_node_arrays(engine: Engine, free: Node) -> None:
    tokens = len(free.token_ids)
    assert free.token_ids.dtype == np.int64
    assert free.logprobs.shape == free.confidences.shape == (tokens,)
    assert free.top_ids.shape == free.top_logprobs.shape == (tokens, 5)
    assert free.logprobs.dtype == free.top_logprobs.dtype == free.confidences.dtype == np.float32
    assert (np.diff(free.top_logprobs, axis=1) <= 0).all()
    assert free.confidence == pytest.approx(free.confidences.mean())
    assert free.length == len(free.path_ids)
    assert free.path_ids[-tokens:] == free.token_ids.tolist()
    prompt = engine.prefill(TEXT)
    assert prompt.text == TEXT
    assert prompt.finish_reason is None
    assert len(prompt.logprobs) == 0
    assert np.isnan(prompt.confidence)


def test_appended_text_equals_one_prompt(folder: str, engine: Engine) -> None:
    more = " she sold half as many"
    (apart,) = engine.expand(engine.prefill(TEXT).append(more), 1, sampling(max_tokens=12))
    assert engine.tokenizer is not None
    other = Engine.load(folder, kv_tokens=512)
    prompt = other.prefill(engine.tokenizer.encode(TEXT) + engine.tokenizer.encode(more))
    (whole,) = other.expand(prompt, 1, sampling(max_tokens=12))
    assert apart.token_ids.tolist() == whole.token_ids.tolist()


def test_release_is_idempotent_and_final(engine: Engine) -> None:
    node = engine.prefill(TEXT)
    node.release()
    node.release()
    with pytest.raises(ReleasedNodeError, match="released"):
        engine.expand(node, 1, sampling())
    with engine.prefill(TEXT) as again:
        assert again.length > 0
    with pytest.raises(ReleasedNodeError):
        _ = again.path_ids


def test_forgotten_nodes_are_released(engine: Engine) -> None:
    children = engine.expand(engine.prefill(TEXT), 8, sampling())
    held = {child.kv for child in children}
    assert all(kv.handles == 1 for kv in held)
    del children
    gc.collect()
    engine.tree.release_dropped()
    assert all(kv.handles == 0 for kv in held)


def test_a_cached_distribution_does_not_keep_the_branch_it_comes_from(engine: Engine) -> None:
    """The tree may keep it for as long as its pages are cached."""
    [branch] = engine.expand(engine.prefill(TEXT), 1, sampling())
    with branch.prefix(7) as prefix:
        kept = prefix.kv.distribution
    assert kept is not None
    np.testing.assert_array_equal(kept.top_ids, branch.top_ids[7])
    arrays = [weakref.ref(branch.top_ids), weakref.ref(branch._completion.top_logits)]
    del branch, prefix
    gc.collect()
    assert [array() for array in arrays] == [None, None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.prefill(""), "empty"),
        (lambda e: e.prefill([]), "empty"),
        (lambda e: e.prefill([331]), "token id 331: must be in the model's vocabulary, 0 to 330"),
        (lambda e: e.prefill([-1]), "token id -1"),
        (lambda e: e.expand(e.prefill([5]), 0), "n=0: an expansion needs at least one sample"),
        (lambda e: e.prefill([5]).append([]), "is empty: give at least one token"),
        (lambda e: e.prefill([5]).append([331]), "token id 331"),
        (lambda e: e.prefill([5, 6]).prefix(3), "prefix of 3 tokens: the node has 2"),
        (lambda e: e.prefill([5, 6]).prefix(0), "prefix of 0 tokens"),
        (lambda e: e.prefill([5, 6]).ancestor(3), "length=3: the node has 2 tokens"),
        (lambda e: e.prefill([5, 6]).ancestor(0), "length=0"),
        (lambda e: e.prefill([5, 6], cache_salt=""), "cache_salt='': must be a text"),
        (lambda e: e.score([5, 6], cache_salt=7), "cache_salt=7: must be a text"),
        (lambda e: e.score([5], after=e.prefill([5, 6]), cache_salt="a"), "has the salt of its prompt"),
        (lambda e: e.score([[5, 6]], top_k=9999), "top_k=9999: must be from 1 to 331"),
        (lambda e: e.score([[]]), "empty"),
        (lambda e: e.stream(["q"], None, concurrency=0), "concurrency=0"),
    ],
)
def test_wrong_arguments_are_refused(engine: Engine, call: Callable[[Engine], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(engine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device='tpu': must be auto, cpu or cuda"),
        ({"dtype": "int3"}, "dtype='int3': must be auto"),
        ({"threads": 0}, "threads=0"),
        ({"kv_tokens": 15}, "kv_tokens=15: the KV pool must hold at least one page of 16 tokens"),
    ],
)
def test_wrong_load_options_are_refused(folder: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Engine.load(folder, **options)  # type: ignore[arg-type]


def test_text_needs_a_tokenizer_and_ids_do_not(tiny_checkpoint: Callable[..., Path]) -> None:
    engine = Engine.load(str(tiny_checkpoint("qwen2")), kv_tokens=256)
    with pytest.raises(InputError, match="no tokenizer: pass token ids"):
        engine.prefill("text")
    with pytest.raises(InputError, match="no tokenizer"):
        engine.chat_ids("question")
    node = engine.prefill([5, 6])
    with pytest.raises(InputError, match="no tokenizer"):
        node.append("text")
    assert engine.expand(node, 1, sampling(max_tokens=3))[0].text == ""
