"""A stack of layers in one call: the same bits as the single ops, and close to the reference."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import Compute, Kernels, reference
from support.kernels.kernel_sets import tokens_of_keys
from support.kernels.layer_stacks import EPS, MODELS, Model, step

WIDE = Model(2048, 192, 1, 2, 16, False, (("Q8_0", "Q8_0", "Q8_0"), "Q8_0", "Q5_0", "Q8_0"))
"""With 300 rows, the int8 activations of QKV, gate and up take more than `kNearBytes` of src/linear/product.h."""


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("compute", ["exact", "fast"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_one_call_is_the_ops_one_by_one(compiled: Kernels, model: Model, compute: Compute, threads: int) -> None:
    check_one_call(compiled, model, compute, threads, layers=3)


def test_so_many_rows_that_products_take_them_in_parts(compiled: Kernels) -> None:
    check_one_call(compiled, WIDE, "fast", threads=2, layers=1, chunk=300)


def check_one_call(compiled: Kernels, model: Model, compute: Compute, threads: int, **sizes: int) -> None:
    layers = [model.layer(compiled, compute, seed) for seed in range(sizes["layers"])]
    torch.set_num_threads(1)
    apart = step(compiled, model, **sizes)
    expected = apart.by_ops(compiled, layers)
    torch.set_num_threads(threads)
    fused = compiled.fuse(layers, EPS, model.head_dim)
    assert fused is not None
    together = step(compiled, model, **sizes)
    output, residual = fused(*together)
    assert torch.isfinite(output).all()
    assert torch.equal(output, expected[0])
    assert torch.equal(residual, expected[1])
    for cache, other in ((together.k_cache, apart.k_cache), (together.v_cache, apart.v_cache)):
        torch.testing.assert_close(cache, other, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_layers_are_those_of_the_reference(compiled: Kernels, model: Model) -> None:
    """Not in the fast mode, where the last bit of a sum can change how an activation is rounded. See test_widths."""
    fused = compiled.fuse([model.layer(compiled, "exact", seed) for seed in range(3)], EPS, model.head_dim)
    assert fused is not None
    ours, theirs = step(compiled, model, 3), step(reference, model, 3)
    expected = theirs.by_ops(reference, [model.layer(reference, "exact", seed) for seed in range(3)])
    for result, other in zip(fused(*ours), expected, strict=True):
        torch.testing.assert_close(result, other, atol=1e-4 * other.abs().max().item(), rtol=0)
    k_cache = tokens_of_keys(compiled, ours.k_cache)
    for cache, other in ((k_cache, theirs.k_cache), (ours.v_cache, theirs.v_cache)):
        torch.testing.assert_close(
            cache, other, atol=1e-4 * other.nan_to_num().abs().max().item(), rtol=0, equal_nan=True
        )
