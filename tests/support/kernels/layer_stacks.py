"""Stacks of decoder layers with random weights, and a step of many branches to run them on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from marcot.kernels import Compute, HeadNorms, Kernels, LayerWeights, Plan
from support.checkpoints.stored_weights import random_weight
from support.kernels.forest import Forest, Query
from torch import Tensor

CPU = torch.device("cpu")
EPS = 1e-5


class Model(NamedTuple):
    """Sizes of a stack of layers, formats of its matrices, norms of heads, and the number of cosine tables."""

    hidden: int
    width: int
    kv_heads: int
    group: int
    head_dim: int
    bias: bool
    formats: tuple[tuple[str, ...], str, str, str]
    norms: bool = False
    tables: int = 1

    def layer(self, ops: Kernels, compute: Compute, seed: int) -> LayerWeights:
        """Random weights, the same for every `ops`."""
        random = torch.Generator().manual_seed(seed)
        kv, q = self.kv_heads * self.head_dim, self.kv_heads * self.group * self.head_dim
        qkv, output, gate_up, down = self.formats
        parts = [
            [random_weight(format, rows, self.hidden, random) for format, rows in zip(qkv, (q, kv, kv), strict=True)],
            [random_weight(output, self.hidden, q, random)],
            [random_weight(gate_up, self.width, self.hidden, random) for _ in range(2)],
            [random_weight(down, self.hidden, self.width, random)],
        ]
        norms = torch.rand(2, self.hidden, generator=random) / 4
        bias = torch.randn(q + 2 * kv, generator=random) if self.bias else None
        matrices = [ops.pack_linear(part, torch.float32, CPU, compute) for part in parts]
        weights = torch.randn(2, self.head_dim, generator=random)
        head_norms = HeadNorms(*weights, EPS) if self.norms else None
        return LayerWeights(
            norms[0], matrices[0], bias, matrices[1], norms[1], *matrices[2:], head_norms, seed % self.tables
        )


MODELS = {
    "dense": Model(60, 100, 2, 7, 8, True, (("F32", "BF16", "F16"), "F32", "BF16", "F32")),
    "mixed": Model(256, 512, 1, 3, 80, False, (("Q5_0", "Q8_0", "F32"), "F32", "Q4_K", "Q6_K")),
    "head norms": Model(60, 100, 2, 3, 20, False, (("F32", "F32", "BF16"), "F32", "F32", "F32"), True, 2),
    "quantised": Model(64, 160, 2, 6, 16, True, (("Q4_0", "Q4_1", "Q8_0"), "Q5_1", "Q5_0", "Q8_0")),
}


class Step(NamedTuple):
    """The input of a step, and caches that hold what it reads."""

    x: Tensor
    cos: Tensor
    sin: Tensor
    slots: Tensor
    k_cache: Tensor
    v_cache: Tensor
    plan: Plan

    def by_ops(self, ops: Kernels, layers: list[LayerWeights]) -> tuple[Tensor, Tensor]:
        """The results of a fused call, computed op by op."""
        x, residual = self.x, None
        scale = self.v_cache.shape[-1] ** -0.5
        for layer, k, v in zip(layers, self.k_cache, self.v_cache, strict=True):
            normed, residual = ops.rms_norm(x, layer.input_norm, EPS, residual)
            qkv = ops.linear(normed, layer.qkv)
            cos, sin = self.cos[layer.rope], self.sin[layer.rope]
            q = ops.rope_store(qkv, layer.qkv_bias, cos, sin, self.slots, k, v, None, layer.head_norms)
            attended = ops.tree_attention(q, k, v, self.plan, scale).flatten(1)
            x = ops.linear(attended, layer.attention_output)
            normed, residual = ops.rms_norm(x, layer.post_attention_norm, EPS, residual)
            x = ops.linear(ops.silu_mul(ops.linear(normed, layer.gate_up)), layer.down)
        assert residual is not None
        return x, residual


def step(ops: Kernels, model: Model, layers: int, chunk: int = 11) -> Step:
    """A prefill of `chunk` rows, three decoding branches, and a repeated row, which writes nothing."""
    prefilled = chunk + 9
    forest = Forest(ops, model.kv_heads, model.head_dim, seed=5, pages=10 + -(-prefilled // 16))
    for segment in ((37, 3, None), (prefilled, 0, 0), (9, 0, 0), (4, 0, 0)):
        forest.add(*segment)
    queries = forest.depth_first([Query(0, 30, 1), Query(1, prefilled, chunk), Query(2, 9, 1), Query(3, 4, 1)])
    slots = []
    for query in queries:
        page, slot = forest.segments[query.segment].places()
        slots += (page * 16 + slot)[query.end - query.rows : query.end].tolist()
    slots[0] = -1
    rows = len(slots)
    angles = torch.randn(model.tables, rows, model.head_dim // 2, generator=forest.random)
    x = torch.randn(rows, model.hidden, generator=forest.random)
    k_cache, v_cache = (cache.repeat(layers, 1, 1, 1, 1) for cache in (forest.k_pages, forest.v))
    return Step(x, angles.cos(), angles.sin(), torch.tensor(slots), k_cache, v_cache, forest.plan(queries))
