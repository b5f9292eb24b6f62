"""Branches as states of TreeQuest's trees. Algorithms of the real library run if it is installed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine, InputError, Sampling
from marcot.engine.adapters.treequest import BranchGenerator, BranchState, step_batch

PROMPT = "Natalia sold 48 clips in April."
STEP = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=8, seed=3)


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=4096)


def ending(engine: Engine) -> Sampling:
    """Every answer ends after one token."""
    return Sampling(temperature=0, max_tokens=4, logit_bias={engine.config.eos_token_ids[0]: 100.0})


def test_children_continue_their_parents(engine: Engine) -> None:
    generator = BranchGenerator(engine, PROMPT, STEP)
    first, score = generator(None)
    prompt = engine.prefill(PROMPT)
    [drawn] = engine.expand(prompt, 1, STEP)
    assert first.token_ids == (*prompt.path_ids, *drawn.token_ids)
    assert (first.text, first.step, first.drawn) == (drawn.text, drawn.text, 8)
    assert score == first.confidence == pytest.approx(drawn.confidence)
    second, _ = generator(first)
    [continued] = engine.expand(drawn, 1, STEP)
    assert second.token_ids == (*first.token_ids, *continued.token_ids)
    assert second.confidence == pytest.approx((drawn.confidence + continued.confidence) / 2)
    assert second.text == engine.tokenizer.decode(second.token_ids[len(prompt.path_ids) :])


def test_one_parent_has_different_children(engine: Engine) -> None:
    generator = BranchGenerator(engine, PROMPT, STEP)
    [(first, _), (second, _)] = generator.draw([None, None])
    third, _ = generator(None)
    assert len({first.step, second.step, third.step}) == 3
    resumed = BranchGenerator(engine, PROMPT, STEP)
    resumed.resume(pickle.loads(pickle.dumps([first, third, second])))
    assert resumed(None)[0] == generator(None)[0]


def test_states_are_data(engine: Engine) -> None:
    state, _ = BranchGenerator(engine, PROMPT, STEP)(None)
    assert pickle.loads(pickle.dumps(state)) == copy.deepcopy(state) == state


def test_shared_chains_are_computed_once(engine: Engine) -> None:
    generator = BranchGenerator(engine, PROMPT, STEP)
    state, _ = generator(None)
    before = engine.usage.copy()
    generator.draw([pickle.loads(pickle.dumps(state))] * 5)
    assert engine.usage.since(before).prefill_tokens <= 1  # the last token of a branch is not computed yet
    engine.tree.check_integrity()


def test_a_finished_answer_ends_or_is_followed_up(engine: Engine) -> None:
    ends = BranchGenerator(engine, PROMPT, ending(engine))
    state, score = ends(None)
    assert state.finish_reason == "eos"
    assert ends(state) == (state, score)
    follow_up = "<|im_start|>user\nRevise.<|im_end|>\n<|im_start|>assistant\n"
    revises = BranchGenerator(engine, PROMPT, STEP, follow_up=follow_up, score=lambda state: 1 / len(state.token_ids))
    revised, value = revises(state)
    assert revised.token_ids[len(state.token_ids) : -8] == tuple(engine.tokenizer.encode(follow_up))
    assert value == 1 / len(revised.token_ids)


def test_a_full_context_ends_a_chain(tiny_checkpoint: Callable[..., Path]) -> None:
    path = tiny_checkpoint("qwen2", tokenizer=True, max_position_embeddings=40)
    generator = BranchGenerator(Engine.load(str(path), kv_tokens=1024), PROMPT, STEP)
    state = None
    for _ in range(8):
        state, _ = generator(state)
    assert len(state.token_ids) == 40
    assert generator(state)[0] == state


def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        BranchGenerator(engine, "")


def algorithms() -> list[tuple[str, dict[str, Any]]]:
    return [("StandardMCTS", {}), ("ABMCTSA", {}), ("TreeOfThoughtsBFSAlgo", {})]


@pytest.mark.parametrize(("name", "options"), algorithms(), ids=[name for name, _ in algorithms()])
def test_treequest_searches(name: str, options: dict[str, Any], engine: Engine) -> None:
    treequest = pytest.importorskip("treequest", reason="needs treequest: make test-adapters")
    algorithm = getattr(treequest, name)(**options)
    generators = {
        "short": BranchGenerator(engine, PROMPT, STEP),
        "long": BranchGenerator(engine, PROMPT, Sampling(temperature=0.7, max_tokens=16, seed=4)),
    }
    state = algorithm.init_tree()
    for _ in range(4):
        state = algorithm.step(state, generators)  # one at a time, with copies of the whole tree
    for _ in range(3):
        state = step_batch(algorithm, pickle.loads(pickle.dumps(state)), 4, generators)
    found = algorithm.get_state_score_pairs(state)
    assert len(found) >= 4 + 3
    assert all(isinstance(each, BranchState) and score == each.confidence for each, score in found)
    for node in state.tree.get_nodes():
        parent = node.parent
        if parent is not None and parent.state is not None:
            assert node.state.token_ids[: len(parent.state.token_ids)] == parent.state.token_ids
    [(best, value)] = treequest.top_k(state, algorithm, k=1)
    assert value == max(score for _, score in found) == best.confidence
    engine.tree.check_integrity()


def test_treequest_finds_the_same_as_with_transformers_at_temperature_0(
    engine: Engine, tiny_checkpoint: Callable[..., Path]
) -> None:
    """The same search over the same greedy steps, by an ordinary generate function around transformers."""
    treequest = pytest.importorskip("treequest", reason="needs treequest: make test-adapters")
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("qwen2", tokenizer=True))
    prompt = engine.tokenizer.encode(PROMPT)

    def rate(ids: tuple[int, ...]) -> float:
        return (sum(ids) * 7919 % 1000) / 1000

    def generate(length: int) -> Callable[[tuple[int, ...] | None], tuple[tuple[int, ...], float]]:
        def child(parent: tuple[int, ...] | None) -> tuple[tuple[int, ...], float]:
            ids = torch.tensor([parent or prompt])
            drawn = model.generate(ids, max_new_tokens=length, do_sample=False, eos_token_id=None, pad_token_id=0)
            return tuple(drawn[0].tolist()), rate(tuple(drawn[0].tolist()))

        return child

    lengths = {"short": 3, "long": 5}
    theirs = {name: generate(length) for name, length in lengths.items()}
    ours = {
        name: BranchGenerator(
            engine, PROMPT, Sampling(temperature=0, max_tokens=length, ignore_eos=True),
            score=lambda state: rate(state.token_ids),
        )
        for name, length in lengths.items()
    }  # fmt: skip
    algorithm = treequest.StandardMCTS()
    found = []
    for functions in (ours, theirs):
        state = algorithm.init_tree()
        for _ in range(14):
            state = algorithm.step(state, functions)
        found.append(
            [(getattr(each, "token_ids", each), score) for each, score in algorithm.get_state_score_pairs(state)]
        )
    assert found[0] == found[1]
