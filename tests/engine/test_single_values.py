"""A single value is accepted where several are expected; a value whose meaning is unclear is refused with a hint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import MCTS, Engine, Expansion, Greedy, InputError, Node, Outcome, Question, Sampling
from marcot.engine.search.actions import GuidedActions, Kind
from support.searches.held_nodes import check_nothing_is_left

IDS = [5, 6, 7, 8, 9]
QUICK = Greedy(max_rollout_tokens=4)
FEW = Sampling(max_tokens=4, ignore_eos=True, seed=5)


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)


@pytest.fixture(scope="module")
def shared(folder: Path) -> Engine:
    return Engine.load(folder, kv_tokens=8192)


@pytest.fixture
def engine(shared: Engine) -> Iterator[Engine]:
    yield shared
    check_nothing_is_left(shared)


def ids_of(nodes: list[Node]) -> list[list[int]]:
    return [node.token_ids.tolist() for node in nodes]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"stop": "\n\n"}, {"stop": ("\n\n",)}),
        ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"stop": np.str_("a")}, {"stop": ("a",)}),
        ({"stop": []}, {"stop": ()}),
        ({"stop_token_ids": 198}, {"stop_token_ids": (198,)}),
        ({"stop_token_ids": np.int64(198)}, {"stop_token_ids": (198,)}),
        ({"stop_token_ids": [1, np.int32(2)]}, {"stop_token_ids": (1, 2)}),
        ({"stop_token_ids": np.array([1, 2])}, {"stop_token_ids": (1, 2)}),
        ({"stop_token_ids": torch.tensor([1, 2])}, {"stop_token_ids": (1, 2)}),
        ({"stop_token_ids": torch.tensor(3)}, {"stop_token_ids": (3,)}),
        ({"temperature": np.float64(0.5), "seed": np.int64(3)}, {"temperature": 0.5, "seed": 3}),
        ({"top_k": torch.tensor(5), "ignore_eos": np.True_}, {"top_k": 5, "ignore_eos": True}),
    ],
    ids=str,
)
def test_sampling(given: dict[str, Any], meant: dict[str, Any]) -> None:
    assert Sampling(**given) == Sampling(**meant)
    assert repr(Sampling(**given)) == repr(Sampling(**meant))
    assert {type(value) for value in asdict(Sampling(**given)).values()} <= {int, float, bool, tuple, str}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": "hot"}, "temperature='hot': must be a finite number >= 0"),
        ({"temperature": None}, "temperature=None: must be"),
        ({"temperature": 10**400}, "temperature=1000.*: must be"),
        ({"temperature": True}, "temperature=True: must be"),
        ({"top_p": np.ones(3)}, "top_p=.*: must be in"),
        ({"top_k": 20.0}, "top_k=20.0: must be an integer >= 0"),
        ({"seed": 1.5}, "seed=1.5: must be a 64-bit integer"),
        ({"max_tokens": None}, "max_tokens=None: must be an integer >= 1"),
        ({"max_tokens": True}, "max_tokens=True: must be an integer >= 1"),
        ({"stop": 3}, "stop=3: must be a tuple of non-empty strings"),
        ({"stop": ("a", 3)}, "stop=.*: must be a tuple of non-empty strings"),
        ({"stop": ""}, "stop='': must be a tuple of non-empty strings"),
        ({"stop": b"a"}, "stop=b'a': must be"),
        ({"stop": None}, "stop=None: must be"),
        ({"stop_token_ids": "198"}, "stop_token_ids='198': must be an integer >= 0 or a tuple of them"),
        ({"stop_token_ids": [1.0]}, "stop_token_ids=1.0: must be"),
        ({"stop_token_ids": -1}, "stop_token_ids=-1: must be"),
        ({"ignore_eos": "no"}, "ignore_eos='no': must be True or False"),
        ({"include_stop": 1}, "include_stop=1: must be True or False"),
    ],
    ids=str,
)
def test_sampling_of_a_wrong_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**options)


def test_a_single_stop_stops_where_it_stands(engine: Engine) -> None:
    """It is one stop string, not one for each of its letters."""
    node = engine.prefill("Natalia sold 48 clips")
    free = engine.expand(node, 2, Sampling(seed=1, max_tokens=40, ignore_eos=True))
    stopped = engine.expand(node, 2, Sampling(stop="clips and more", seed=1, max_tokens=40, ignore_eos=True))
    assert ids_of(stopped) == ids_of(free)
    node.release()


TOKENS: dict[str, Any] = {
    "list": IDS,
    "tuple": tuple(IDS),
    "generator": iter(IDS),
    "range": range(5, 10),
    "numpy": np.array(IDS),
    "numpy-uint16": np.array(IDS, np.uint16),
    "torch": torch.tensor(IDS),
    "torch-items": list(torch.tensor(IDS)),
    "numpy-items": list(np.array(IDS)),
}


@pytest.mark.parametrize("kind", [kind for kind in TOKENS if kind != "generator"])
def test_token_ids_of_any_kind(engine: Engine, kind: str) -> None:
    given = TOKENS[kind]
    with engine.prefill(given) as node, engine.prefill(given[:2]) as start, start.append(given[2:]) as appended:
        assert node.path_ids == appended.path_ids == IDS
    [expected] = engine.score([IDS])
    for sequences in (given, [given], [given, given]):
        scores = engine.score(sequences)
        assert len(scores) == (2 if isinstance(sequences, list) and len(sequences) == 2 else 1)
        assert all(np.array_equal(score.logprobs, expected.logprobs, equal_nan=True) for score in scores)


def test_a_generator_of_token_ids(engine: Engine) -> None:
    with engine.prefill(iter(IDS)) as node:  # type: ignore[arg-type]
        assert node.path_ids == IDS


def test_a_single_token(engine: Engine) -> None:
    with engine.prefill(5) as node, node.append(np.int64(6)) as more:  # type: ignore[arg-type]
        assert more.path_ids == [5, 6]


def test_a_single_text_is_scored_once(engine: Engine) -> None:
    [score] = engine.score("The capital of France")
    [same] = engine.score(["The capital of France"])
    assert np.array_equal(score.logprobs, same.logprobs, equal_nan=True)
    assert len(engine.score(["a b", [5, 6], np.array([7, 8])])) == 3
    assert len(engine.score(np.array([[5, 6], [7, 8]]))) == 2
    assert engine.score([]) == []


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (None, "token id=None: must be an integer"),
        (1.0, "token id=1.0: must be an integer"),
        ([5, 6.0], "token id=6.0: must be an integer"),
        ([5, True], "token id=True: must be an integer"),
        (np.array([5.0]), "token id=5.0: must be an integer"),
        (np.array([[5, 6]]), r"token ids of shape \[1, 2\]: pass one row, such as ids\[0\]"),
        (torch.tensor([[5, 6]]), r"token ids of shape \[1, 2\]: pass one row"),
        ([[5, 6]], r"\[5, 6\] is not a token id: pass one text, or one sequence of integers"),
        (["How", "many"], "'How' is not a token id: pass one text"),
        ({"input_ids": [5, 6]}, "pass one sequence of them, such as its input_ids"),
        (b"How", "b'How': pass text as str, so decode these bytes first"),
    ],
    ids=str,
)
def test_values_that_are_not_token_ids_are_refused(engine: Engine, tokens: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        engine.prefill(tokens)
    with engine.prefill(IDS) as node, pytest.raises(InputError, match=message):
        node.append(tokens)


@pytest.mark.parametrize(
    "sequences", [None, 1.5, b"How", {"input_ids": [5]}, [None], [5, "x"], [[5], 6], [[[5]]]], ids=str
)
def test_what_cannot_be_scored_is_refused(engine: Engine, sequences: Any) -> None:
    if sequences == [[5], 6]:
        assert len(engine.score(sequences)) == 2, "a single token among sequences"
        return
    with pytest.raises(InputError):
        engine.score(sequences)


def test_expansions_in_every_form(engine: Engine) -> None:
    first, second = engine.prefill(IDS), engine.prefill(IDS[:3])
    one, other = ids_of(engine.expand(first, 2, FEW)), ids_of(engine.expand(second, 2, FEW))
    expansions = [Expansion(first, 2, FEW), Expansion(second, 2, FEW)]
    assert ids_of(engine.expand(expansions[0])) == one
    for many in (
        expansions,
        tuple(expansions),
        iter(expansions),
        [expansions[0], (second, 2, FEW)],
        [tuple(each) for each in expansions],
    ):
        assert [ids_of(family) for family in engine.expand(many)] == [one, other]
    assert [ids_of(family) for family in engine.expand([first, second], 2, FEW)] == [one, other]
    assert [ids_of(family) for family in engine.expand((first, second), n=np.int64(2), sampling=FEW)] == [one, other]
    assert [len(family) for family in engine.expand([(first, 3), second])] == [3, 1]
    assert engine.expand([]) == []
    first.release()
    second.release()


def test_what_cannot_be_expanded_is_refused(engine: Engine, folder: Path) -> None:
    node, stranger = engine.prefill(IDS), Engine.load(folder, kv_tokens=64).prefill(IDS)
    for call, message in {
        lambda: engine.expand("How many?"): "cannot expand 'How many[?]': pass a Node, an Expansion",
        lambda: engine.expand(None): "cannot expand None: pass a Node",
        lambda: engine.expand(IDS): "cannot expand 5: pass a Node",
        lambda: engine.expand((node, 2, FEW)): "cannot expand 2: pass a Node, an Expansion",
        lambda: engine.expand({node: 2}): "cannot expand {.*}: pass a Node",
        lambda: engine.expand(stranger): "cannot expand Node.*: must be a Node of this engine",
        lambda: engine.expand([Expansion("text", 1, FEW)]): "cannot expand .*: pass a Node",
        lambda: engine.expand(Expansion(node, 1, FEW), 3): "an Expansion has its own n, sampling and first",
        lambda: engine.expand(
            [Expansion(node, 1, FEW)], sampling=FEW
        ): "an Expansion has its own n, sampling and first",
        lambda: engine.expand(node, 2.5): "n=2.5: must be an integer >= 1",
        lambda: engine.expand(node, True): "n=True: must be an integer >= 1",
        lambda: engine.expand(node, 0): "n=0: an expansion needs at least one sample",
        lambda: engine.expand(node, first=-1): "first=-1: must be an integer >= 0",
        lambda: engine.expand(node, 1, {"temperature": 1}): "sampling={'temperature': 1}: must be a Sampling",
        lambda: engine.expand(
            node, 1, Sampling
        ): r"sampling=Sampling: this is a class, not an instance; write Sampling\(\)",
        lambda: node.prefix(2.0): "tokens=2.0: must be an integer",
        lambda: node.prefix("2"): "tokens='2': must be an integer",
        lambda: engine.score([IDS], top_k=5.0): "top_k=5.0: must be from 1 to 331",
        lambda: engine.search("How?", "mcts"): r"strategy='mcts': must be a strategy such as MCTS\(rollouts=8\)",
        lambda: engine.search("How?", MCTS): r"strategy=MCTS: this is a class, not an instance; write MCTS\(\)",
        lambda: engine.stream("How?", None): "strategy=None: must be a strategy",
        lambda: engine.stream("How?", QUICK, concurrency=2.0): "concurrency=2.0: must be at least 1",
        lambda: engine.stream("How?", QUICK, system=3): "system=3: must be a text or None",
        lambda: engine.search(3, QUICK): "questions=3: must be a text, a Question, or an iterable of them",
        lambda: engine.search(b"How?", QUICK): "questions=b'How[?]': must be a text",
        lambda: Engine.load(3): "model=3: must be the name of a model",
        lambda: Engine.load(folder, threads=2.0): "threads=2.0: must be at least 1",
        lambda: Engine.load(folder, threads=True): "threads=True: must be at least 1",
        lambda: Engine.load(folder, kv_tokens=1e4): "kv_tokens=10000.0: must be an integer or None",
        lambda: Engine.load(folder, graphs="no"): "graphs='no': must be True or False",
    }.items():
        with pytest.raises(InputError, match=message):
            call()
    node.release()


@pytest.mark.parametrize(
    "questions",
    [
        "How many?",
        Question("How many?", "4"),
        {"question": "How many?", "answer": "4"},
        {"question": "How many?", "answer": 4, "id": 7},
        [Question("How many?", "4")],
        [{"question": "How many?"}],
        [("How many?", "4")],
        [("How many?", None)],
        np.array(["How many?"]),
        iter(["How many?"]),
    ],
    ids=[
        "text",
        "question",
        "object",
        "object-with-a-number",
        "questions",
        "objects",
        "pairs",
        "pair-of-text-and-none",
        "array",
        "iterator",
    ],
)
def test_questions_in_every_form(engine: Engine, questions: Any) -> None:
    [result] = engine.search(questions, QUICK)
    assert result.question == "How many?"


@pytest.mark.parametrize(
    ("answer", "text"), [(4, "4"), (np.int64(4), "4"), (0.5, "0.5"), ("4", "4"), (None, None), (" ", None)]
)
def test_an_answer_that_is_a_number_is_a_text(answer: Any, text: str | None) -> None:
    assert Question.of(Question("How many?", answer)) == Question("How many?", text)
    assert Question.of(("How many?", answer)) == Question("How many?", text)
    assert Question.of({"question": "How many?", "answer": answer}) == Question("How many?", text)


def test_kinds_of_actions_take_one_text_for_several() -> None:
    one = Kind("think", openings="Let me see. ", close="\n\n")  # type: ignore[arg-type]
    assert one == Kind("think", openings=("Let me see. ",), close=("\n\n",))
    assert Kind("think", openings=()) == Kind("think")
    for fields, message in (
        ({"openings": 3}, "kind 'think': openings=3: must be"),
        ({"close": ("",)}, "kind 'think': close=.*: must be"),
        ({"tags": "<>"}, "kind 'think': tags='<>': must be two texts, before and after"),
        ({"tags": ("<t>",)}, "tags=.*: must be two texts"),
        ({"max_tokens": 2.5}, "kind 'think': max_tokens=2.5: must be an integer >= 1"),
    ):
        with pytest.raises(InputError, match=message):
            Kind("think", **fields)  # type: ignore[arg-type]


# --- after the end ------------------------------------------------------------------------------------------------


@pytest.fixture
def ended(engine: Engine) -> Iterator[Node]:
    """A branch that ended with an end-of-sequence token."""
    prompt = engine.prefill("Natalia sold")
    children = engine.expand(prompt, 60, Sampling(temperature=50.0, top_k=0, top_p=1.0, max_tokens=40, seed=3))
    with next(child for child in children if child.finish_reason == "eos") as node:
        del children
        yield node
    prompt.release()


def test_nothing_follows_an_end_token(engine: Engine, ended: Node) -> None:
    before = replace(engine.usage)
    children = engine.expand(ended, 3, Sampling(stop="x"))
    assert engine.usage == before
    for child in children:
        assert (child.finish_reason, child.text, len(child.token_ids)) == ("eos", "", 0)
        assert child.path_ids == ended.path_ids
        assert child.logprobs.shape == (0,)
        [grandchild] = engine.expand(child)
        assert (grandchild.finish_reason, len(grandchild.token_ids)) == ("eos", 0)
    [same, others] = engine.expand([Expansion(ended, 1, Sampling(max_tokens=2)), Expansion(ended.prefix(1), 2, FEW)])
    assert [len(node.token_ids) for node in (*same, *others)] == [0, 4, 4]
    assert [type(event) for event in engine.stream_text(ended)] == [Node]


def test_a_branch_goes_on_after_an_end_token_where_it_is_told_to(engine: Engine, ended: Node) -> None:
    [child] = engine.expand(ended, 1, FEW)
    assert len(child.token_ids) == 4
    with ended.append("She") as more, engine.prefill(ended.path_ids) as again:
        for node in (more, again):
            assert len(engine.expand(node, 1, Sampling(max_tokens=1))[0].token_ids) == 1


# --- strict JSON --------------------------------------------------------------------------------------------------


def test_results_are_strict_json(engine: Engine) -> None:
    """Given tokens have no confidence, and the values of a user's function are numpy numbers."""
    options = {"rollouts": 4, "max_rollout_tokens": 20, "value": lambda chain: np.float32(0.25)}
    for strategy in (MCTS(reflection=True, **options), MCTS(action="marco-v2", **options)):  # type: ignore[arg-type]
        events = list(engine.stream([Question("How many?", 4), "What?"], strategy))  # type: ignore[arg-type]
        for event in events:
            record: Any = event.result if isinstance(event, Outcome) else event
            assert json.loads(json.dumps(asdict(record), allow_nan=False))
        results = [event.result for event in events if isinstance(event, Outcome)]
        given = [each for result in results if result for node in result.tree for each in node.confidences]
        assert None in given or strategy.reflection


def test_guided_actions_of_a_single_opening(engine: Engine) -> None:
    kinds = (Kind("answer", openings="It is ", close="\n", max_tokens=4),)  # type: ignore[arg-type]
    [result] = engine.search("How?", MCTS(rollouts=2, action=GuidedActions("one", kinds, start=(("answer", 1),))))
    assert all(rollout.text.startswith("It is ") for rollout in result.rollouts)
