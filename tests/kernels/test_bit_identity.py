"""A row's result has the same bits alone and in any batch, on any number of threads."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.kernels import Compute, Draw, Kernels
from support.checkpoints.stored_weights import BLOCKS, MODES, random_weight
from support.kernels.forest import Forest, Query, Shape, shapes
from support.kernels.tied_draws import tied_draws
from torch import Tensor

CPU = torch.device("cpu")

threads = st.integers(1, 4)
randoms = st.randoms(use_true_random=True)
modes = st.sampled_from(MODES)


def generator(random: Random) -> torch.Generator:
    return torch.Generator().manual_seed(random.getrandbits(31))


def some_rows(rows: int, random: Random) -> Tensor:
    """Rows of one batch, in any order; a row may occur twice."""
    return torch.tensor(random.choices(range(rows), k=random.randint(1, rows)))


@settings(max_examples=60, deadline=None)
@given(
    shape=shapes(most_segments=9, most_tokens=60),
    group=st.sampled_from([1, 3, 6, 7]),
    head_dim=st.sampled_from([8, 16, 40]),
    random=randoms,
    threads=threads,
)
def test_attention(compiled: Kernels, shape: Shape, group: int, head_dim: int, random: Random, threads: int) -> None:
    """A plan's work items leave no trace in the result: a row only depends on its own path, token by token."""
    forest = Forest(compiled, kv_heads=2, head_dim=head_dim, seed=random.getrandbits(31), pages=160)
    queries = shape.grow(forest)
    q = forest.queries(sum(query.rows for query in queries), group)

    def attention(rows: Tensor, queries: list[Query], cuts: Random | None) -> Tensor:
        return compiled.tree_attention(rows, forest.k_pages, forest.v, forest.plan(queries, cuts), 0.3)

    torch.set_num_threads(1)
    together = attention(q, queries, None)
    torch.set_num_threads(threads)
    assert torch.equal(attention(q, queries, None), together), "on other threads"
    assert torch.equal(attention(q, queries, random), together), "with other items"

    chosen = random.randrange(len(queries))
    rows, results = (x.split([query.rows for query in queries])[chosen] for x in (q, together))
    assert torch.equal(attention(rows, [queries[chosen]], random), results), "without the other branches"
    copy = forest.add_copy(queries[chosen], random.randrange(16))
    assert torch.equal(attention(rows, [copy], None), results), "on a path of one segment"
    last = copy._replace(rows=1)
    assert torch.equal(attention(rows[-1:], [last], random), results[-1:]), "without the other rows of its branch"


@settings(max_examples=60, deadline=None)
@given(mode=modes, rows=st.integers(1, 70), outputs=st.integers(1, 70), random=randoms, threads=threads)
def test_linear(
    compiled: Kernels, mode: tuple[str, Compute], rows: int, outputs: int, random: Random, threads: int
) -> None:
    format, compute = mode
    columns = random.choice([256, 512, 1280]) if format in BLOCKS else random.randint(1, 600)
    part = random_weight(format, outputs, columns, generator(random))
    torch.set_num_threads(1)
    weight = compiled.pack_linear([part], torch.float32, CPU, compute)
    x = torch.randn(rows, columns, generator=generator(random))
    together = compiled.linear(x, weight)
    torch.set_num_threads(threads)
    assert torch.equal(compiled.pack_linear([part], torch.float32, CPU, compute).data, weight.data)
    assert torch.equal(compiled.linear(x, weight), together)
    some = some_rows(rows, random)
    assert torch.equal(compiled.linear(x[some], weight), together[some])
    assert torch.equal(
        compiled.embed(some % outputs, weight), compiled.embed(torch.arange(outputs), weight)[some % outputs]
    )


@pytest.mark.parametrize("format", ["Q4_0", "Q6_K", "Q8_0"])
def test_a_long_prompt_in_parts(compiled: Kernels, format: str) -> None:
    """101 rows of int8 activations do not fit in half of an L2 cache, so they are multiplied in two parts."""
    random = torch.Generator().manual_seed(3)
    weight = compiled.pack_linear([random_weight(format, 37, 6144, random)], torch.float32, CPU, "fast")
    x = torch.randn(101, 6144, generator=random)
    alone = torch.cat([compiled.linear(row, weight) for row in x.split(1)])
    assert torch.equal(compiled.linear(x, weight), alone)


@settings(max_examples=30, deadline=None)
@given(
    mode=modes,
    rows=st.integers(1, 40),
    vocab=st.integers(1, 3000),
    k=st.integers(1, 64),
    random=randoms,
    threads=threads,
)
def test_lm_head(
    compiled: Kernels, mode: tuple[str, Compute], rows: int, vocab: int, k: int, random: Random, threads: int
) -> None:
    format, compute = mode
    torch.set_num_threads(1)
    weight = compiled.pack_linear([random_weight(format, vocab, 256, generator(random))], torch.float32, CPU, compute)
    x = torch.randn(rows, 256, generator=generator(random))
    targets = torch.randint(0, vocab, (rows,), generator=generator(random))
    temperature = torch.rand(rows, generator=generator(random)) + 0.1
    key = torch.randint(-(2**62), 2**62, (rows,), generator=generator(random))
    position = torch.arange(rows)

    def head(rows: Tensor) -> tuple[Tensor | None, ...]:
        draw = Draw(temperature[rows], key[rows], position[rows])
        return compiled.lm_head_topk(x[rows], weight, min(k, vocab), targets[rows], draw)

    together = head(torch.arange(rows))
    torch.set_num_threads(threads)
    for chosen in (torch.arange(rows), some_rows(rows, random)):
        for field, expected in zip(head(chosen), together, strict=True):
            assert field is not None
            assert expected is not None
            assert torch.equal(field, expected[chosen])


@pytest.mark.parametrize("threads", [1, 3])
def test_draws_that_the_last_bit_decides(compiled: Kernels, threads: int) -> None:
    torch.set_num_threads(threads)
    tied_draws(rows=13, vocab=1003).check_in_batches(compiled, CPU, range(1, 65))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), width=st.integers(1, 300), random=randoms, threads=threads)
def test_what_looks_at_one_row_at_a_time(
    compiled: Kernels, rows: int, width: int, random: Random, threads: int
) -> None:
    x, residual, gate_up = (torch.randn(rows, 2 * width, generator=generator(random)) for _ in range(3))
    weight = torch.randn(2 * width, generator=generator(random))
    torch.set_num_threads(1)
    together = *compiled.rms_norm(x, weight, 1e-5, residual), compiled.silu_mul(gate_up)
    some = some_rows(rows, random)
    torch.set_num_threads(threads)
    company = *compiled.rms_norm(x[some], weight, 1e-5, residual[some]), compiled.silu_mul(gate_up[some])
    for result, expected in zip(company, together, strict=True):
        assert torch.equal(result, expected[some])
