"""Draws at the border of a truncation, where the last bit of a sum decides, beside neighbours of every width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import Engine, Expansion, Sampling
from marcot.engine.sampling.logit_rules import LogitRules
from marcot.engine.sampling.sampler import Candidates, SamplingRows, TokenChoice, choose
from marcot.kernels.reference.pick import PickParams, gumbel
from numpy.typing import NDArray

VOCAB = 150
WIDEST = 64
POSITION = 17


class Row(NamedTuple):
    """One row that draws a token.

    Attributes:
        sampling: Sampling parameters.
        logits: `[VOCAB]` fp32.
        seen: Tokens of its path, for the penalty.
        key: Philox key.
    """

    sampling: Sampling
    logits: NDArray[np.float32]
    seen: set[int]
    key: int

    @property
    def width(self) -> int:
        """The number of candidates that it asks for."""
        return self.sampling.candidates


def decide(rows: Sequence[Row], *, complete: bool = False) -> TokenChoice:
    """The tokens chosen for `rows` in one call, from as many candidates as the widest row wants, or from all logits."""
    columns = VOCAB if complete else max(row.width for row in rows)
    logits = np.stack([row.logits for row in rows])
    order = np.argsort(-logits, axis=1, kind="stable")[:, :columns]
    samplings = [row.sampling for row in rows]
    widths = np.array([VOCAB if complete else row.width for row in rows])
    temperature = np.array([s.temperature for s in samplings], np.float32)
    scaled = logits.astype(np.float64) / np.where(temperature > 0, temperature, 1)[:, None]
    lse = np.log(np.exp(scaled - scaled.max(axis=1)[:, None]).sum(axis=1)) + scaled.max(axis=1)
    streamed = [s.streamed for s in samplings]
    candidates = Candidates(
        order, np.take_along_axis(logits, order, axis=1), widths, np.where(streamed, lse, np.nan).astype(np.float32),
        complete,
    )  # fmt: skip
    params = PickParams(
        temperature,
        np.array([s.top_k for s in samplings]),
        np.array([s.top_p for s in samplings]),
        np.array([s.min_p for s in samplings], np.float32),
        np.array([row.key for row in rows]),
        np.full(len(rows), POSITION),
    )
    rules = [LogitRules.of(row.sampling, sorted(row.seen), (), ()) for row in rows]
    return choose(candidates, SamplingRows(params, rules))


def ranked(row: Row) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The tokens that top-p chooses among, best first, and their logits after penalty and temperature."""
    s, values = row.sampling, row.logits
    if s.repetition_penalty != 1:
        penalty = np.float32(s.repetition_penalty)
        lowered = np.where(values > 0, values / penalty, values * penalty)
        values = np.where(np.isin(np.arange(VOCAB), list(row.seen)), lowered, values)
    scaled = values / np.float32(s.temperature)
    order = np.argsort(-scaled, kind="stable")[: s.top_k or VOCAB]
    return order, scaled[order]


def at_border(row: Row, border: int, ulps: int, by_mass: bool) -> Row:
    """Change `row` so that the last bits decide whether token number `border` is kept, with a key that would draw it.

    Args:
        row: A row that draws.
        border: Rank of the token, by probability.
        ulps: Distance of the limit from the value that decides, in units in the last place.
        by_mass: Whether top-p decides; otherwise min-p does.
    """
    order, scaled = ranked(row)
    border = min(border, len(order) - 1)
    weights = np.exp(scaled.astype(np.float64) - scaled[0])
    decides = np.float32(weights[:border].sum() / weights.sum() if by_mass else weights[border])
    limit = float(np.clip(decides + ulps * np.spacing(decides), 1e-30, 1))
    sampling = dataclasses.replace(row.sampling, **{"top_p" if by_mass else "min_p": limit})
    keys = row.key + np.arange(256)
    noise = gumbel(keys, np.full(len(keys), POSITION), np.tile(order[: border + 1], (len(keys), 1)))
    drawing = (scaled[: border + 1] + noise).argmax(axis=1) == border
    return row._replace(sampling=sampling, key=int(keys[drawing.argmax()]))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    random = np.random.default_rng(draw(st.integers(0, 2**32), "logits"))
    logits = (random.normal(size=VOCAB) * draw(st.sampled_from([0.1, 0.5, 1.0, 4.0]))).astype(np.float32)
    if draw(st.booleans(), "ties"):
        logits = np.round(logits * 4) / 4
    sampling = Sampling(
        temperature=draw(st.sampled_from([0.5, 1.0, 1.3])),
        top_k=draw(st.sampled_from([20, 9, 33, 40, 63, 64, 8, 1, 0, 100])),
        top_p=draw(st.sampled_from([1.0, 0.9])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.0, 1.3, 0.8])),
        top_logprobs=draw(st.sampled_from([5, 5, 20, WIDEST])),
    )
    return Row(sampling, logits, set(random.integers(0, VOCAB, 40).tolist()), int(random.integers(2**62)))


def borders(row: Row, random: Random) -> Iterator[Row]:
    """One border for each width of the neighbour."""
    for _ in range(WIDEST):
        yield at_border(row, random.randrange(WIDEST), random.randint(-2, 2), random.random() < 0.8)


@settings(max_examples=60, deadline=None)
@given(row=rows(), others=st.lists(rows(), max_size=3), random=st.randoms(use_true_random=False))
def test_neighbours_of_every_width_change_nothing(row: Row, others: list[Row], random: Random) -> None:
    for width, chosen in enumerate(borders(row, random), start=1):
        wide = row._replace(sampling=Sampling(temperature=0.0, top_logprobs=width))
        company, place = ([chosen, wide], 0) if width % 2 else ([wide, *others, chosen], -1)
        for field, expected in zip(decide(company), decide([chosen]), strict=True):
            assert field[place] == expected[0], f"beside a width of {width}"


@settings(max_examples=20, deadline=None)
@given(row=rows(), others=st.lists(rows(), max_size=3), random=st.randoms(use_true_random=False))
def test_the_full_row_is_decided_on_as_the_candidates_are(row: Row, others: list[Row], random: Random) -> None:
    for chosen in borders(row, random):
        few = decide([chosen])
        full = decide([*others, chosen], complete=True)
        assert full.exact[-1]
        if few.exact[0]:
            assert (few.ids[0], few.logits[0]) == (full.ids[-1], full.logits[-1])


@pytest.mark.parametrize(("top_p", "kept"), [(0.25, 1), (0.5, 2), (0.51, 3), (0.75, 3), (0.99, 4)])
def test_a_nucleus_that_reaches_its_probability_exactly_is_complete(top_p: float, kept: int) -> None:
    """Of four equally probable tokens, two reach a `top_p` of 0.5; a third one is not drawn."""
    logits = np.where(np.arange(VOCAB) < 4, np.float32(2), np.float32(-1000))
    sampling = Sampling(temperature=1.0, top_k=0, top_p=top_p)
    drawn = decide([Row(sampling, logits, set(), key) for key in range(200)])
    assert drawn.exact.all()
    assert set(drawn.ids.tolist()) == set(range(kept))


@pytest.mark.parametrize("kind", ["qwen2", "llama3.2"])
def test_borders_of_a_model(kind: str, tiny_checkpoint: Callable[..., Path]) -> None:
    """All sums of probabilities at which a nucleus of twenty tokens can end, each with the adjacent floats."""
    engine = Engine.load(str(tiny_checkpoint(kind, vocab_size=1003)), kv_tokens=16384)
    node = engine.prefill([5, 17, 3, 99, 4])
    (wide,) = engine.expand(node, 1, Sampling(temperature=0.0, max_tokens=1, top_logprobs=WIDEST))
    weights = np.exp(wide.top_logprobs[0, :20].astype(np.float64))
    sums = (weights.cumsum() / weights.sum())[:-1].astype(np.float32)
    for number, top_p in enumerate(float(mass + ulps * np.spacing(mass)) for mass in sums for ulps in range(-3, 4)):
        asked = Sampling(temperature=1.0, top_k=20, top_p=top_p, max_tokens=1, seed=number)
        (alone,) = engine.expand(node, 1, asked)
        neighbour = Sampling(temperature=0.0, max_tokens=1, top_logprobs=21 + number % 44)
        (beside,), _ = engine.expand([Expansion(node, 1, asked), Expansion(node, 1, neighbour)])
        assert beside.token_ids.tolist() == alone.token_ids.tolist(), top_p
