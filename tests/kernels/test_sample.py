"""The choice of the next token on every kernel set: the same tokens everywhere, as the specification defines them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import marcot.kernels.triton.sample as triton_sample
import pytest
import support.kernels.sampling_cases as cases
import torch
from marcot.kernels import HeadTopK, Kernels, RoundState, Sampled, SampleParams, reference
from support.kernels import kernel_sets, triton_device
from support.kernels.sampling_cases import CONFIGURATIONS

pytestmark = pytest.mark.filterwarnings("ignore:.* encountered:RuntimeWarning")
"""Triton's interpreter computes in numpy, which warns about the numbers of rows that have no candidates."""

DRAWS = 10_000
"""Per configuration."""

STEPS = 5


@pytest.fixture(scope="module", params=[name for name in kernel_sets.NAMES if name in ("cpu", "triton")])
def fast_ops(request: pytest.FixtureRequest) -> Kernels:
    """One build of each kind, against the specification."""
    return kernel_sets.kernel_set(request.param, request.config.cache.mkdir("kernels"))


@pytest.fixture(autouse=True)
def _interpreted_in_large_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row per program, as on a GPU, would take minutes in Triton's interpreter."""
    if triton_device.DEVICE == "cpu":
        monkeypatch.setattr(triton_sample, "_ROWS", 4096)


class HeadAndParams(NamedTuple):
    """The arguments of `sample`."""

    head: HeadTopK
    params: SampleParams


@cache
def specified(name: str, rows: int, k: int, drawn: bool) -> tuple[HeadAndParams, Sampled]:
    """Some rows of one configuration, and the tokens that the specification chooses."""
    fields = CONFIGURATIONS[name]
    head = cases.head(rows, k, rows + k, fields.get("temperature", 1.0), drawn)
    chosen_from = HeadAndParams(head, cases.params(rows, rows + k, **fields))
    return chosen_from, reference.sample(*chosen_from)


def assert_same(got: Sampled, expected: Sampled) -> None:
    """The same rows are settled, with the same tokens."""
    assert torch.equal(got.settled, expected.settled)
    for field, other in zip(got, expected, strict=True):
        assert field.dtype == other.dtype
        assert torch.equal(field[expected.settled], other[expected.settled])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_draws_equal_the_specification(fast_ops: Kernels, name: str) -> None:
    for number, k, drawn in ((DRAWS, 64, True), (300, 64, False), (37, 20, True), (1, 64, True), (0, 5, True)):
        chosen_from, expected = specified(name, number, k, drawn)
        assert_same(fast_ops.sample(*chosen_from), expected)


def test_rows_of_every_kind_in_one_batch_change_nothing(ops: Kernels) -> None:
    parts = []
    for number, fields in enumerate(CONFIGURATIONS.values()):
        params = cases.params(7, number, **fields | {"temperature": 0.8})
        parts.append(HeadAndParams(cases.head(7, 64, number, 0.8), params))
    heads, settings = zip(*parts, strict=True)
    together = HeadAndParams(
        HeadTopK(*map(stacked, zip(*heads, strict=True))), SampleParams(*map(torch.cat, zip(*settings, strict=True)))
    )
    sampled = ops.sample(*together)
    assert_same(sampled, reference.sample(*together))
    alone = [ops.sample(*part) for part in parts]
    assert_same(sampled, Sampled(*map(torch.cat, zip(*alone, strict=True))))
    head, params = together
    narrow = params._replace(width=params.width.clamp(max=20))
    few = head._replace(top_ids=head.top_ids[:, :20].contiguous(), top_logits=head.top_logits[:, :20].contiguous())
    assert_same(ops.sample(head, narrow), ops.sample(few, narrow))


def stacked(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    return None if parts[0] is None else torch.cat(parts)  # type: ignore[arg-type]


def clone(state: RoundState) -> RoundState:
    return RoundState(*(part.clone() for part in state))


def moved(state: RoundState, head: HeadTopK, sampled: Sampled) -> RoundState:
    """What `advance` has to do, one row at a time."""
    state = clone(state)
    for row in (state.ended == 0).nonzero()[:, 0].tolist():
        settled, token, number = bool(sampled.settled[row]), int(sampled.ids[row]), int(state.drawn[row])
        state.settled[row] = settled
        if not settled:
            continue
        values: tuple[Any, ...] = (token, sampled.logits[row], head.lse[row], head.top_ids[row], head.top_logits[row])
        for result, value in zip(state[-5:], values, strict=True):
            result[number, row] = value
        state.token_ids[row], state.places[row] = token, state.next_places[row, number]
        for field in (state.positions, state.draw_position, state.drawn):
            field[row] += 1
        state.ended[row] = token in state.ends[row].tolist() or number + 1 == state.limit[row]
    return state


@pytest.mark.parametrize(("rows", "k"), [(1, 5), (37, 20), (6, 64)], ids=str)
def test_a_round_moves_what_is_settled_and_has_not_ended(ops: Kernels, rows: int, k: int) -> None:
    state = cases.round_state(rows, k, STEPS)
    for step in range(STEPS + 1):
        head = cases.head(rows, k, step, 0.5, False)
        params = cases.params(rows, step, temperature=0.5, top_k=20, top_p=0.95)._replace(position=state.draw_position)
        state.ends[::4, step % 3] = head.top_ids[::4, 0]  # the most probable token
        expected = moved(state, head, reference.sample(head, params))
        ops.advance(state, head, params)
        for name, got, want in zip(RoundState._fields, state, expected, strict=True):
            assert torch.equal(got, want), f"{name} after step {step}"
