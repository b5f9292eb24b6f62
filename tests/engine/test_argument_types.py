"""Every number passed from Python is checked for type and range, and every count has a maximum."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import (
    DVTS,
    MCTS,
    REBASE,
    Beam,
    BestOfN,
    Engine,
    Expansion,
    InputError,
    Sampling,
    SelfConsistency,
    checking,
)
from marcot.engine.dataset.options import DatasetOptions
from marcot.engine.kv import pool_size
from marcot.engine.search.actions import GuidedActions, Kind, MiniStep, Uncertain
from marcot.engine.search.values import GroupConfidence, Judge, MarcoConfidence, Mixture
from marcot.kernels import MarcotError

NO_INTEGERS = {
    "float": 2.0,
    "fraction": 1.9,
    "nan": float("nan"),
    "infinity": float("inf"),
    "bool": True,
    "numpy-bool": np.bool_(True),
    "torch-bool": torch.tensor(True),
    "numpy-float": np.float64(3),
    "text": "3",
    "bytes": b"3",
    "list": [3],
    "array": np.array([3]),
    "tensor": torch.tensor([3]),
    "complex": 3j,
    "object": object(),
    "huge": 10**5000,
    "negative": -(10**5000),
    "ten-billion": 10**10,
}
NO_NUMBERS = {
    name: NO_INTEGERS[name] for name in ("nan", "infinity", "bool", "numpy-bool", "torch-bool", "text", "bytes", "list",
    "array", "tensor", "complex", "object", "negative")
}  # fmt: skip
BUDGETS = {"first", "min_shared", "min_characters", "max_characters", "per_question", "pairs_per_question", "seed"}
"""Parameters without a bound, because a large value costs nothing."""

Call = Callable[[Any], object]


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=1024)


def _calls(engine: Engine) -> Iterator[tuple[str, Call]]:
    node = engine.prefill([5, 6])
    yield "prefill", lambda x: engine.prefill([5, x])
    yield "append", lambda x: node.append([x])
    yield "prefix", node.prefix
    yield "score", lambda x: engine.score([[5, 6, x]])
    yield "score-top-k", lambda x: engine.score([[5, 6]], top_k=x)
    yield "n", lambda x: engine.expand(node, x)
    yield "n-of-an-expansion", lambda x: engine.expand(Expansion(node, x, Sampling()))
    yield "first", lambda x: engine.expand(node, 1, Sampling(max_tokens=1), first=x)
    yield "concurrency", lambda x: engine.stream([], MCTS(), concurrency=x)
    yield "threads", lambda x: Engine.load("nowhere", threads=x)
    for name in ("top_k", "max_tokens", "seed", "top_logprobs", "stop_token_ids"):
        yield f"Sampling-{name}", lambda x, name=name: Sampling(**{name: x})
    for kind in (MCTS, Beam, BestOfN, SelfConsistency, DVTS, REBASE):
        for field in fields(kind):
            if "int" in str(field.type).split(" | ") or field.type is int:
                yield f"{kind.__name__}-{field.name}", lambda x, kind=kind, name=field.name: kind(**{name: x})
    for name in ("min_shared", "min_characters", "max_characters", "per_question", "pairs_per_question", "seed"):
        yield f"DatasetOptions-{name}", lambda x, name=name: DatasetOptions(**{name: x})
    yield "MiniStep", MiniStep
    yield "Uncertain", Uncertain
    yield "Kind", lambda x: Kind("think", max_tokens=x)
    kinds = [Kind("think", followers=(("answer", 1),)), Kind("answer")]
    yield "followers", lambda x: GuidedActions("own", kinds, (("think", x),))
    yield "longest", lambda x: GuidedActions("own", kinds, (("think", 1),), longest=x)
    yield "back-off", lambda x: GuidedActions("own", kinds, (("think", 1),), back_off=x, retry="think")
    yield "MarcoConfidence", MarcoConfidence
    yield "GroupConfidence-window", lambda x: GroupConfidence(window=x)
    yield "GroupConfidence-k", lambda x: GroupConfidence(k=x)
    yield "Judge", lambda x: Judge(lambda trace: 1.0, width=x)


def _refused(call: Call, value: object) -> str | None:
    """What is wrong with the refusal of `value`; None if it was refused properly."""
    try:
        call(value)
    except InputError as error:
        return None if len(str(error)) < 500 else f"a message of {len(str(error))} characters"
    except MarcotError as error:
        return f"{type(error).__name__}, no InputError"
    except Exception as error:
        return repr(error)[:200]
    return "accepted"


def test_values_that_are_not_integers_or_out_of_range_are_typed_errors(engine: Engine) -> None:
    wrong = []
    for name, call in _calls(engine):
        several = name in ("Sampling-stop_token_ids",)
        harmless = name.split("-")[-1] in BUDGETS
        for kind, value in NO_INTEGERS.items():
            if several and kind in ("list", "array", "tensor", "huge", "ten-billion"):
                continue
            if harmless and kind in ("huge", "ten-billion") and name != "DatasetOptions-seed":
                continue
            if name.endswith("seed") and kind == "ten-billion":
                continue
            if (problem := _refused(call, value)) is not None:
                wrong.append(f"{name}, {kind}: {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "number", [np.int32(2), np.int64(2), np.uint8(2), torch.tensor(2)], ids=lambda n: type(n).__name__
)
def test_integers_of_numpy_and_torch_are_welcome(engine: Engine, number: Any) -> None:
    assert Sampling(top_k=number).top_k == 2
    assert MCTS(width=number).width == 2
    node = engine.prefill([5, number])
    assert node.path_ids == [5, 2]
    assert len(engine.expand(node, number, Sampling(max_tokens=1))) == 2


def test_values_that_are_not_finite_numbers_are_typed_errors() -> None:
    calls: dict[str, Call] = {
        name: lambda x, name=name: Sampling(**{name: x})
        for name in ("temperature", "top_p", "min_p", "repetition_penalty")
    }
    calls |= {
        "prune": lambda x: MCTS(prune=x),
        "max_seconds": lambda x: MCTS(max_seconds=x),
        "exploration": lambda x: MCTS(exploration=x),
        "balance": lambda x: REBASE(balance=x),
        "margin": lambda x: DatasetOptions(margin=x),
        "validation": lambda x: DatasetOptions(validation=x),
        "min_value": lambda x: DatasetOptions(min_value=x),
        "weight": lambda x: Mixture(((x, MarcoConfidence()),)),
    }
    wrong = []
    for name, call in calls.items():
        for kind, value in NO_NUMBERS.items():
            if (problem := _refused(call, value)) is not None:
                wrong.append(f"{name}, {kind}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_branches_are_bounded_in_all_ways_of_asking(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MAX_BRANCHES", 100)
    node, most = engine.prefill([5, 6]), 100
    half = most // 2 + 1
    for call in (
        lambda: engine.expand(node, most + 1),
        lambda: engine.expand([Expansion(node, half, Sampling()), Expansion(node, half, Sampling())]),
        lambda: Beam(beams=half, samples=2),
        lambda: DVTS(subtrees=2, samples=half),
        lambda: REBASE(samples=most + 1),
        lambda: BestOfN(parallel=most + 1),
        lambda: MCTS(width=most + 1),
    ):
        with pytest.raises(InputError, match=f"at most {most} branches"):
            call()
    engine.tree.check_integrity()


@pytest.mark.parametrize("tokens", [10**10, 10**12, 10**5000], ids=["10**10", "10**12", "10**5000"])
def test_a_pool_larger_than_the_memory_says_what_it_takes(tiny_checkpoint: Callable[..., Path], tokens: int) -> None:
    with pytest.raises(
        InputError, match=r"they need .* GB, but there are only [\d,.]+ GB: ask for at most \d+, or fewer"
    ):
        Engine.load(str(tiny_checkpoint("qwen2")), kv_tokens=tokens)


def test_a_pool_may_be_as_large_as_the_memory(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of its pages counts as well."""
    monkeypatch.setattr(pool_size, "free_memory", lambda device: 40_000_000)
    folder = str(tiny_checkpoint("qwen2"))
    with pytest.raises(InputError, match="ask for at most") as refusal:
        Engine.load(folder, kv_tokens=10**9)
    [most] = re.findall(r"at most (\d+)", str(refusal.value))
    engine = Engine.load(folder, kv_tokens=int(most))
    assert engine.tree.pool.capacity == int(most) // 16
    with pytest.raises(InputError, match="ask for at most"):
        Engine.load(folder, kv_tokens=int(most) + 1)
