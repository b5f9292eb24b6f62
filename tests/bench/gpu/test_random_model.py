"""Engines on random weights, on the CPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from marcot.engine import MCTS, Expansion, Sampling
from marcot.model import ModelConfig, load_checkpoint

from bench.common.shaped_checkpoint import CONFIGS, qwen2_config
from bench.gpu import models, random_model
from bench.gpu.models import Model
from bench.gpu.random_model import RandomCheckpoint, random_engine
from bench.gpu.words import word_tokenizer, words_of


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    config = qwen2_config(64, 96, 2, 4, 2, 500, tied=False)
    for module in (models, random_model):
        monkeypatch.setattr(module, "CONFIGS", {"tiny": config})
    return config


@pytest.mark.parametrize(("name", "billions"), [("0.5b", 0.49), ("1.5b", 1.54), ("7b", 7.6)])
def test_models_have_the_sizes_of_their_names(name: str, billions: float) -> None:
    shapes = RandomCheckpoint(CONFIGS[name], torch.device("cpu"))._shapes
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) / 1e9 == pytest.approx(billions, abs=0.02)


def test_an_engine_on_random_weights_decodes_and_searches(tiny: ModelConfig) -> None:
    engine = random_engine("tiny", "cpu", 1024, torch.float32)
    sampling = Sampling(temperature=1.0, top_k=20, max_tokens=5)
    with engine.prefill([1, 2, 3]) as node:
        children = [child for [child] in engine.expand([Expansion(node, 1, sampling, i) for i in range(3)])]
    assert len({tuple(child.token_ids) for child in children}) == 3
    assert children[0].text == words_of(list(children[0].token_ids))
    search = MCTS(rollouts=3, action="mini-step-4", max_rollout_tokens=12)
    results = engine.search([words_of([7, 8, 9]), words_of([9, 8])], search)
    assert [len(result.rollouts) for result in results] == [3, 3]


def test_weights_are_the_same_every_time_and_of_a_size_that_outputs_keep(tiny: ModelConfig) -> None:
    first, second = (RandomCheckpoint(tiny, torch.device("cpu")) for _ in range(2))
    q, k = (f"model.layers.1.self_attn.{part}_proj.weight" for part in "qk")
    weight = first.tensor(q)
    assert isinstance(weight, torch.Tensor)
    assert torch.equal(weight, second.tensor(q))
    assert not torch.equal(weight[:32], first.tensor(k))
    assert float(weight.float().std()) == pytest.approx(64**-0.5, rel=0.1)


def test_every_token_has_a_word() -> None:
    tokenizer = word_tokenizer(1000)
    assert tokenizer.encode(words_of([0, 999, 31])) == [0, 999, 31]
    assert tokenizer.decode([0, 999, 31]) == "w0 w999 w31"


def test_a_random_model_on_disk_is_the_one_in_memory(tiny: ModelConfig, tmp_path: Path) -> None:
    path = Model("tiny", True).checkpoint(tmp_path / "model", "cpu", layers=1)
    drawn = RandomCheckpoint(dataclasses.replace(tiny, num_layers=1), torch.device("cpu"))
    with load_checkpoint(path) as stored:
        assert (stored.config.num_layers, stored.config.qkv_bias, stored.config.head_dim) == (1, True, 16)
        for name in drawn.parameters:
            assert torch.equal(torch.as_tensor(stored.tensor(name)), drawn.drawn(name)), name
