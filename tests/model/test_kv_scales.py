"""Scales of an fp8 KV cache: no row can exceed the range, and the worst row comes close to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from marcot.kernels import BlockTensor, reference
from marcot.model import Checkpoint, kv_scales, load_checkpoint
from marcot.model.rope import Rope
from marcot.model.weight_format import converted
from torch import Tensor

CPU = torch.device("cpu")
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
KINDS = ("qwen2", "qwen2.5-yarn", "smollm2", "qwen3", "smollm3")


class Projection(NamedTuple):
    """The bias and matrix of K or V of one layer: outputs are `matrix @ normed + bias`."""

    matrix: Tensor
    bias: Tensor

    def worst_row(self, output: int, norm: Tensor) -> Tensor:
        """The normed row that makes `output` as large as possible."""
        row = self.matrix[output] * norm
        sign = 1.0 if self.bias[output] >= 0 else -1.0
        return sign * row / row.norm() * len(norm) ** 0.5 * norm


def projection(checkpoint: Checkpoint, layer: int, part: str, weights: str = "stored") -> Projection:
    name = f"model.layers.{layer}.self_attn.{part}_proj"
    matrix = converted(checkpoint.tensor(f"{name}.weight"), f"{name}.weight", weights)  # type: ignore[arg-type]
    values = matrix.dequantize() if isinstance(matrix, BlockTensor) else matrix
    bias = checkpoint.tensor(f"{name}.bias") if checkpoint.config.qkv_bias else torch.zeros(len(values))
    return Projection(values.double(), bias.double())


def rotated(checkpoint: Checkpoint, layer: int, keys: Tensor, position: int) -> Tensor:
    """Keys of one row by head, `[kv_heads, head_dim]`, normed and rotated to `position`."""
    config = checkpoint.config
    keys = keys.view(-1, config.head_dim)
    if config.head_norms:
        weight = checkpoint.tensor(f"model.layers.{layer}.self_attn.k_norm.weight")
        keys = torch.nn.functional.rms_norm(keys, (config.head_dim,), weight.double(), config.rms_norm_eps)
    rope = Rope(config, CPU)
    cos, sin = (table[rope.table_of(layer)] for table in rope.tables(torch.tensor([position])))
    low, high = keys.chunk(2, dim=1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=1)


def worst_normed_row(checkpoint: Checkpoint, layer: int, output: int, matrix: Tensor) -> Tensor:
    """The row in which a head of K has nothing but `output`, which is then as large as a norm can make it."""
    head_dim = checkpoint.config.head_dim
    head = matrix.view(-1, head_dim, matrix.shape[1])[output // head_dim]
    alone = torch.eye(head_dim, dtype=torch.float64)[output % head_dim]
    return torch.linalg.lstsq(head, alone).solution * 1e3


@pytest.mark.parametrize("pages", FP8, ids=["e4m3", "e5m2"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_row_is_too_large(tiny_checkpoint: Callable[..., Path], kind: str, pages: torch.dtype) -> None:
    """Even rows that are as large as possible in one output fit, and they use at least a quarter of the range."""
    with load_checkpoint(str(tiny_checkpoint(kind))) as checkpoint:
        config, room = checkpoint.config, torch.finfo(pages).max
        for layer, scales in enumerate(kv_scales(checkpoint, "stored", pages, CPU)):
            norm = checkpoint.tensor(f"model.layers.{layer}.input_layernorm.weight").double()
            k, v = (projection(checkpoint, layer, part) for part in "kv")
            largest = torch.zeros(2, config.num_kv_heads, dtype=torch.float64)
            for output in range(len(k.matrix)):
                keys, values = (p.matrix @ p.worst_row(output, norm) + p.bias for p in (k, v))
                if config.head_norms:
                    keys = k.matrix @ worst_normed_row(checkpoint, layer, output, k.matrix)
                places = (0, 1, 2, 3, 5, 9, 200)
                turned = torch.stack([rotated(checkpoint, layer, keys, position) for position in places])
                here = turned.abs().amax(dim=(0, 2)), values.view(-1, config.head_dim).abs().amax(dim=1)
                largest = torch.maximum(largest, torch.stack(here))
            used = largest / torch.stack(scales) / room
            assert (used <= 1).all()
            assert (used > 0.25).all()


@pytest.mark.parametrize("weights", ["stored", "int4"])
def test_they_are_those_of_the_weights_as_they_are_kept(tiny_checkpoint: Callable[..., Path], weights: str) -> None:
    """The scale is the largest output of the worst row over the maximum of fp8, rounded up to a power of two."""
    with load_checkpoint(str(tiny_checkpoint("llama3.2", num_hidden_layers=1))) as checkpoint:
        config, room = checkpoint.config, torch.finfo(torch.float8_e4m3fn).max
        [scales] = kv_scales(checkpoint, weights, torch.float8_e4m3fn, CPU)  # type: ignore[arg-type]
        norm = checkpoint.tensor("model.layers.0.input_layernorm.weight").double()
        v = projection(checkpoint, 0, "v", weights)
        outputs = range(len(v.matrix))
        worst = torch.stack([(v.matrix[output] @ v.worst_row(output, norm)).abs() for output in outputs])
        bound = worst.view(-1, config.head_dim).amax(dim=1) / room
        expected = torch.exp2(torch.ceil(torch.log2(bound)))
        assert scales.v.tolist() == expected.tolist()


def test_a_head_without_weights_has_a_scale(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load_checkpoint(str(tiny_checkpoint("smollm2", num_hidden_layers=1))) as checkpoint:
        tensor = checkpoint.tensor
        monkeypatch.setattr(checkpoint, "tensor", lambda name: tensor(name) * (0.0 if "v_proj" in name else 1.0))
        [scales] = kv_scales(checkpoint, "stored", reference.fp8_dtype, CPU)
        assert scales.v.tolist() == [1.0] * checkpoint.config.num_kv_heads
