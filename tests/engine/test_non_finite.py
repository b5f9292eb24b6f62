"""Numbers that are not finite end the branch or prompt that they belong to with a typed error, and nothing else."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from marcot.engine import BestOfN, Engine, Expansion, Node, NonFiniteError, Outcome, Sampling
from marcot.kernels import BlockTensor, HeadTopK, Kernels, reference
from marcot.model import DecodeGraphs, Decoder, load_checkpoint
from safetensors.torch import load_file, save_file
from support.checkpoints.stored_weights import BLOCKS
from support.checkpoints.tiny_gguf import convert
from support.kernels.tiled_reference import TiledReference
from support.searches.held_nodes import check_nothing_is_left
from torch import Tensor

PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31]
BAD_TOKEN = 300
WAYS = (
    Sampling(temperature=0.0, max_tokens=6, ignore_eos=True),
    Sampling(temperature=0.8, top_k=20, max_tokens=6, ignore_eos=True, seed=3),
    Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=6, ignore_eos=True, seed=3),
    Sampling(temperature=1.0, top_k=0, top_p=0.9, repetition_penalty=1.3, max_tokens=6, ignore_eos=True, seed=3),
)
Spoil = Callable[[dict[str, Tensor]], None]


@pytest.fixture(scope="module")
def sound(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2-untied", tokenizer=True, num_hidden_layers=2)


@pytest.fixture
def spoilt(sound: Path, tmp_path: Path) -> Callable[[Spoil], Path]:
    """`spoilt(change)`: a copy of the checkpoint with changed weights; each call replaces the copy before."""
    shutil.copytree(sound, tmp_path / "spoilt")

    def write(spoil: Spoil) -> Path:
        weights = load_file(sound / "model.safetensors")
        spoil(weights)
        save_file(weights, tmp_path / "spoilt" / "model.safetensors", metadata={"format": "pt"})
        return tmp_path / "spoilt"

    return write


def put(name: str, value: float) -> Spoil:
    """Write `value` into the second row of a tensor, near its end."""
    return lambda weights: weights[name].view(len(weights[name]), -1)[1].__setitem__(-1, value)


def test_every_tensor_is_looked_at(sound: Path, spoilt: Callable[[Spoil], Path]) -> None:
    for name in load_file(sound / "model.safetensors"):
        for value, called in ((math.inf, "an infinity"), (math.nan, "NaN")):
            with pytest.raises(NonFiniteError, match=rf"spoilt: tensor {name} has {called} in row 1: .* again"):
                Engine.load(spoilt(put(name, value)))


@pytest.mark.parametrize("weights", ["bf16", "int8", "int4"])
def test_rounded_weights_are_looked_at(tiny_checkpoint: Callable[..., Path], tmp_path: Path, weights: str) -> None:
    folder = tiny_checkpoint("qwen2-untied", num_hidden_layers=1, intermediate_size=160)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    stored = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    for value, said in ((math.nan, f"{name} has NaN in row 1"), (3.4e38, f"{name} has numbers that are too large")):
        put(name, value)(stored)
        save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(NonFiniteError, match=said):
            Engine.load(tmp_path, weights=weights)


@pytest.mark.parametrize("format", ["Q4_1", "Q8_0"])
def test_blocks_are_looked_at(tiny_checkpoint: Callable[..., Path], tmp_path: Path, format: str) -> None:
    folder = tiny_checkpoint("qwen2-untied", num_hidden_layers=1, hidden_size=256, num_attention_heads=8)
    path = convert(folder, tmp_path / "model.gguf", quantize=format)
    name = "model.layers.0.self_attn.o_proj.weight"
    with load_checkpoint(path) as checkpoint:
        stored = checkpoint.tensor(name)
        assert isinstance(stored, BlockTensor)
        begin = path.read_bytes().index(stored.data[1].numpy().tobytes())
    for place in BLOCKS[format].scales:
        whole = bytearray(path.read_bytes())
        whole[begin + place : begin + place + 2] = np.array([np.nan], np.float16).tobytes()
        (tmp_path / "bad.gguf").write_bytes(whole)
        with pytest.raises(NonFiniteError, match=f"{name} has NaN in row 1"):
            Engine.load(tmp_path / "bad.gguf")


def everything(engine: Engine, prompt: list[int]) -> list[np.ndarray]:
    """Numbers from every way to use an engine. Whatever happens, the KV tree is intact."""
    numbers: list[np.ndarray] = []
    try:
        node = engine.prefill(prompt)
        further = node.append([7, 9])
        for way in WAYS:
            for child in engine.expand(node, 2, way) + engine.expand(further, 1, way):
                numbers += [child.logprobs, child.top_logprobs, child.confidences]
        for score in engine.score([prompt, prompt[::-1]], top_k=20):
            numbers += [score.logprobs[1:], score.top_logprobs[1:]]
    finally:
        engine.tree.check_integrity()
    return numbers


def test_finite_weights_that_overflow(sound: Path, spoilt: Callable[[Spoil], Path]) -> None:
    """With one huge number anywhere, results are finite or an error, and mostly an error."""
    ended = 0
    for name in (name for name in load_file(sound / "model.safetensors") if "layers.1" not in name):
        for value in (3e38, -3e38):
            engine = Engine.load(spoilt(put(name, value)), kv_tokens=1024)
            try:
                assert all(np.isfinite(part).all() for part in everything(engine, PROMPT))
            except NonFiniteError:
                ended += 1
    assert ended > 10


def overflowing(tokens: Sequence[int]) -> Spoil:
    """Make the first norm infinite for `tokens` only."""

    def spoil(weights: dict[str, Tensor]) -> None:
        weights["model.layers.0.input_layernorm.weight"][0] = 3e38
        weights["model.embed_tokens.weight"][:, 0] = 0.0
        weights["model.embed_tokens.weight"][tokens, 0] = 30.0

    return spoil


class TakesAnything(TiledReference):
    """A kernel set whose LM head accepts NaN."""

    def lm_head_topk(self, *arguments: Any, **options: Any) -> HeadTopK:
        return reference.lm_head_topk(*arguments, **options)


def told(nodes: Sequence[Node]) -> list[tuple[list[int], list[float]]]:
    return [(node.token_ids.tolist(), node.logprobs.tolist()) for node in nodes]


def test_the_engine_goes_on(spoilt: Callable[[Spoil], Path]) -> None:
    engine = Engine.load(spoilt(overflowing([BAD_TOKEN])), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    expected = told(engine.expand(node, 3, WAYS[1]))
    further = node.append([BAD_TOKEN])
    for way in WAYS:
        with pytest.raises(NonFiniteError, match=r"spoilt: after 10 tokens layer 0 gives numbers that are not finite"):
            engine.expand([Expansion(node, 2, way), Expansion(further, 2, way)])
        engine.tree.check_integrity()
    with pytest.raises(NonFiniteError, match="after 12 tokens layer 0"):
        engine.prefill([*PROMPT, BAD_TOKEN, 5, 6])
    with pytest.raises(NonFiniteError, match="after 3 tokens layer 0"):
        engine.score([PROMPT, [5, BAD_TOKEN, 6]])
    engine.tree.check_integrity()
    assert told(engine.expand(engine.prefill(PROMPT), 3, WAYS[1])) == expected
    assert told(engine.expand(node, 3, WAYS[1])) == expected


def test_only_its_own_search_fails(sound: Path, spoilt: Callable[[Spoil], Path]) -> None:
    questions = ["How many clips?", "小明有三个苹果？", "And in May?"]
    first, second, third = map(set, map(Engine.load(sound, kv_tokens=16).chat_ids, questions))
    engine = Engine.load(spoilt(overflowing([max(second - first - third)])), kv_tokens=4096)
    strategy = BestOfN(rollouts=3, max_rollout_tokens=5)
    outcomes = [event for event in engine.stream(questions, strategy, instruction=None) if isinstance(event, Outcome)]
    by_index = {outcome.index: outcome for outcome in outcomes}
    assert isinstance(by_index[1].error, NonFiniteError)
    for index in (0, 2):
        [expected] = engine.search([questions[index]], strategy, instruction=None)
        result = by_index[index].result
        assert result is not None
        assert result.rollouts == expected.rollouts
    check_nothing_is_left(engine)


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
def test_a_branch_that_draws_the_bad_token(spoilt: Callable[[Spoil], Path], graphs: bool) -> None:
    """Some siblings end at their second token, in a step that only decodes; the next call is not affected."""

    def load(tokens: Sequence[int]) -> Engine:
        with load_checkpoint(spoilt(overflowing(tokens))) as checkpoint:
            decoder = Decoder(checkpoint, cast(Kernels, TakesAnything()), torch.float32, torch.device("cpu"))
        engine = Engine(decoder, None, 4096)
        step_runner = engine._scheduler._step_runner
        if graphs:
            step_runner._graphs = DecodeGraphs(decoder, step_runner._cache, lambda run: run, most_rows=16)
        return engine

    ways = [replace(way, max_tokens=2) for way in WAYS]
    engine = load([])
    firsts = [[int(child.token_ids[0]) for child in engine.expand(engine.prefill(PROMPT), 4, way)] for way in ways]
    for way, drawn in zip(ways, firsts, strict=True):
        engine = load([drawn[-1]])
        node = engine.prefill(PROMPT)
        with pytest.raises(NonFiniteError, match="after 10 tokens layer 0"):
            engine.expand(node, 4, way)
        engine.tree.check_integrity()
        others = [number for number, token in enumerate(drawn) if token != drawn[-1]]
        for number in others:
            [child] = engine.expand(node, 1, way, first=number)
            assert int(child.token_ids[0]) == drawn[number]


def test_scales_of_fp8_are_finite(spoilt: Callable[[Spoil], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "reference")
    with pytest.raises(NonFiniteError, match=r"layers\.1\.self_attn\.v_proj .*--kv-dtype auto"):
        Engine.load(spoilt(put("model.layers.1.self_attn.v_proj.weight", 1e30)), kv_dtype="fp8", kv_tokens=1024)
