"""GRPO steps of TRL on completions that marcot draws as trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import Engine, InputError, Sampling
from marcot.engine.adapters.trl import TreeRollouts, draw_trees

PROMPTS = [
    [{"role": "user", "content": "Natalia sold 48 clips in April."}],
    [{"role": "user", "content": "Two and two is"}],
]
SAMPLING = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=12, seed=5)


@pytest.fixture
def path(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True)


@pytest.fixture
def engine(path: Path) -> Engine:
    return Engine.load(str(path), kv_tokens=4096)


def rated(engine: Engine, prompt: tuple[int, ...], ids: list[int]) -> np.ndarray:
    """The log-probabilities of a completion."""
    [score] = engine.score([[*prompt, *ids]], 1)
    return score.logprobs[len(prompt) :]


@pytest.mark.parametrize("roots", [None, 1, 3, 9])
def test_completions_of_a_prompt_form_a_tree(roots: int | None, engine: Engine) -> None:
    prompts = {tuple(engine.tokenizer.encode("Natalia sold")): 6, tuple(engine.tokenizer.encode("So")): 1}
    trees = draw_trees(engine, prompts, roots, SAMPLING)
    assert [len(tree) for tree in trees] == [6, 1]
    first = 3 if roots is None else min(roots, 6)
    assert [completion.parent is None for completion in trees[0]] == [True] * first + [False] * (6 - first)
    for prompt, tree in zip(prompts, trees, strict=True):
        assert len({tuple(completion.token_ids) for completion in tree}) == len(tree)
        for completion in tree:
            ids = completion.token_ids.tolist()
            assert 0 < len(ids) <= 12
            assert completion.logprobs == pytest.approx(rated(engine, prompt, ids), abs=1e-4)
            if completion.parent is not None:
                parent = tree[completion.parent]
                assert 0 < completion.fork < len(parent.token_ids)
                assert ids[: completion.fork] == parent.token_ids[: completion.fork].tolist()
    engine.tree.check_integrity()


def test_forks_are_where_the_parent_was_least_confident(engine: Engine) -> None:
    prompt = engine.tokenizer.encode("Natalia sold")
    [tree] = draw_trees(engine, {tuple(prompt): 4}, 1, SAMPLING)
    [chain] = engine.expand(engine.prefill(prompt), 1, SAMPLING)
    assert chain.token_ids.tolist() == tree[0].token_ids.tolist()
    places = [place for place in np.argsort(chain.confidences).tolist() if place]
    assert [completion.fork for completion in tree[1:]] == places[:3]


def test_chains_of_one_token_are_forked_at_the_prompt(engine: Engine) -> None:
    prompt = tuple(engine.tokenizer.encode("So"))
    [tree] = draw_trees(engine, {prompt: 5}, 2, Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=1, seed=1))
    assert [completion.fork for completion in tree] == [0] * 5
    assert [len(completion.token_ids) for completion in tree] == [1] * 5


def test_beginnings_are_drawn_once(engine: Engine) -> None:
    [tree] = draw_trees(engine, {tuple(engine.tokenizer.encode("Natalia sold")): 8}, 2, SAMPLING)
    drawn = sum(len(completion.token_ids) - completion.fork for completion in tree)
    assert engine.usage.generated_tokens == drawn < sum(len(completion.token_ids) for completion in tree)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="roots=0: must be an integer >= 1"):
        TreeRollouts(roots=0)
    adapted = SimpleNamespace(merge_adapter=None)
    trainer = SimpleNamespace(
        model=adapted,
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
        state=SimpleNamespace(global_step=0),
    )
    with pytest.raises(InputError, match="is a PEFT model"):
        TreeRollouts()(["So"], trainer)


@pytest.fixture
def trainer(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make a trainer on the tiny checkpoint; its `seen` has the arguments of its reward function."""
    trl = pytest.importorskip("trl", reason="needs trl: make test-adapters")
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    tokenizer.pad_token, tokenizer.eos_token = "<|endoftext|>", "<|im_end|>"

    def make(rollouts: TreeRollouts, **options: Any) -> Any:
        seen: list[dict[str, Any]] = []

        def reward(completion_ids: list[list[int]], **told: Any) -> list[float]:
            seen.append({"completion_ids": completion_ids, **told})
            return [float(np.mean(ids)) for ids in completion_ids]

        config = trl.GRPOConfig(
            output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=8, num_generations=4,
            max_completion_length=10, learning_rate=1e-2, use_cpu=True, report_to="none", save_strategy="no",
            bf16=False, logging_strategy="no", disable_tqdm=True, **options,
        )  # fmt: skip
        made = trl.GRPOTrainer(
            model=str(path), args=config, reward_funcs=reward, processing_class=tokenizer, rollout_func=rollouts,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        )  # fmt: skip
        made.seen = seen
        return made

    return make


def test_trl_trains_on_them(trainer: Callable[..., Any]) -> None:
    """Two steps: the weights change, and the second step's completions come from the changed weights."""
    rollouts = TreeRollouts(kv_tokens=4096)
    training = trainer(rollouts)
    drawn: list[dict[str, Any]] = []
    agreement: list[float] = []

    def watched(prompts: list[Any], given: Any) -> dict[str, Any]:
        output = rollouts(prompts, given)
        drawn.append(output)
        model = given.accelerator.unwrap_model(given.model)
        for prompt, ids, logprobs in zip(
            output["prompt_ids"], output["completion_ids"], output["logprobs"], strict=True
        ):
            with torch.no_grad():
                logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].float()
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None])[:, 0]
            agreement.append(float((expected - torch.tensor(logprobs)).abs().max()))
        return output

    training.rollout_func = watched
    before = [weights.detach().clone() for weights in training.model.parameters()]
    training.train()
    assert training.state.global_step == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, training.model.parameters(), strict=True))
    assert len(drawn) == 2
    assert max(agreement) < 1e-3
    for output, told in zip(drawn, training.seen, strict=True):
        assert told["completion_ids"] == output["completion_ids"]
        assert told["tree_parents"] == output["tree_parents"]
        assert told["tree_forks"] == output["tree_forks"]
        assert sorted(parent == -1 for parent in output["tree_parents"]) == [False] * 4 + [True] * 4
        for place, (parent, fork) in enumerate(zip(output["tree_parents"], output["tree_forks"], strict=True)):
            if parent >= 0:
                assert output["prompt_ids"][parent] == output["prompt_ids"][place]
                assert output["completion_ids"][parent][:fork] == output["completion_ids"][place][:fork]


def test_other_distributions_are_recorded_as_drawn(trainer: Callable[..., Any]) -> None:
    rollouts = TreeRollouts(kv_tokens=4096, sync=False)
    training = trainer(rollouts, temperature=0.5, top_k=5)
    prompts = [*PROMPTS * 3, "Two and two is", "Two and two is"]
    output = rollouts(prompts, training)
    loaded = rollouts.engine
    assert output["prompt_ids"][-1] == training.processing_class("Two and two is").input_ids
    for prompt, ids, logprobs in zip(output["prompt_ids"], output["completion_ids"], output["logprobs"], strict=True):
        [score] = loaded.score([[*prompt, *ids]], 5)
        best = score.top_logprobs[len(prompt) :] / 0.5
        expected = best - np.logaddexp.reduce(best, axis=1)[:, None]
        places = (score.top_ids[len(prompt) :] == np.array(ids)[:, None]).argmax(axis=1)
        assert logprobs == pytest.approx(expected[np.arange(len(ids)), places].tolist(), abs=1e-3)
    training.state.global_step = 1
    rollouts(prompts, training)
    assert rollouts.engine is loaded
