"""The forward pass of dense decoders over the KV tree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels import Compute, HeadNorms, Kernels, LayerWeights, NonFiniteError, PackedLinear, Plan
from ..kernels.blocks import BlockFormatError
from .checkpoint import Checkpoint
from .config import ModelConfig
from .errors import CheckpointError
from .files.non_finite import non_finite_tensor
from .kv_cache import KVCache
from .parameters import EMBEDDING, FINAL_NORM, LM_HEAD
from .rope import Rope
from .weight_format import WeightFormat, converted


class StepInput(NamedTuple):
    """The input of one forward step: prefill chunks and decode tokens of many branches side by side.

    Attributes:
        token_ids: `[rows]` int64.
        slots: `[rows]` int64, cache slot that each row's K and V are written to; -1 writes nothing.
        plan: What each row attends to; holds the rows' positions.
        outputs: `[outputs]` int64, the rows whose hidden states are returned, in ascending order, each once.
    """

    token_ids: Tensor
    slots: Tensor
    plan: Plan
    outputs: Tensor

    def to(self, device: torch.device) -> StepInput:
        """The same step with its tensors on `device`."""
        ids, slots, outputs = (part.to(device) for part in (self.token_ids, self.slots, self.outputs))
        return StepInput(ids, slots, self.plan.to(device), outputs)


class Decoder:
    """A decoder with packed weights.

    Attributes:
        path: Path of the checkpoint.
        config: The model's shape.
        kernels: The op set that it runs on.
        dtype: Dtype of activations, weights and KV cache.
        device: The device that it runs on.
        compute: The compute mode.
        head: The LM head, `[vocab, hidden]`, for `Kernels.lm_head_topk`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        kernels: Kernels,
        dtype: torch.dtype,
        device: torch.device,
        compute: Compute = "exact",
        weights: WeightFormat = "stored",
    ) -> None:
        """Read and pack every weight of `checkpoint`.

        Raises:
            CheckpointError: A tensor is missing, has the wrong shape or cannot be read.
            NonFiniteError: A weight is infinite or NaN, or overflows in its storage format.
            BlockFormatError: A tensor cannot be stored in the format `weights`.
        """
        self.path = checkpoint.path
        self.config: ModelConfig = checkpoint.config
        self.kernels = kernels
        self.dtype = dtype
        self.device = device
        self.compute: Compute = compute
        reader = _WeightReader(checkpoint, kernels, dtype, device, compute, weights)
        self._rope = Rope(self.config, device)
        self._embedding = reader.matrix(EMBEDDING)
        self._layers = list(_read_layers(reader, self.config, self._rope))
        self._fused = kernels.fuse(self._layers, self.config.rms_norm_eps, self.config.head_dim)
        self._norm = reader.vector(FINAL_NORM)
        self.head = self._embedding if self.config.tied_embeddings else reader.matrix(LM_HEAD)

    @property
    def weight_bytes(self) -> int:
        """Memory of all packed matrices, in bytes; a tied head counts once."""
        packed = {id(self._embedding): self._embedding, id(self.head): self.head}
        for layer in self._layers:
            packed |= {id(w): w for w in (layer.qkv, layer.attention_output, layer.gate_up, layer.down)}
        return sum(weight.nbytes for weight in packed.values())

    @property
    def row_bytes(self) -> int:
        """Peak memory of `forward` per row, in bytes, which is reached in an MLP.

        It consists of the residual stream, the normed row, the previous normed row, gate and up, and their product.
        """
        config = self.config
        return (3 * config.hidden_size + 3 * config.intermediate_size) * self.dtype.itemsize

    @torch.inference_mode()
    def forward(self, step: StepInput, cache: KVCache) -> Tensor:
        """Run `step`, writing K and V into `cache`.

        Returns:
            `[outputs, hidden]`: hidden states of the rows in `step.outputs` after the final norm, ready for the LM
            head.
        """
        cos, sin = self._rope.tables(step.plan.positions)
        embedded = self.kernels.embed(step.token_ids, self._embedding)
        if self._fused is not None:
            assert cache.scales is None, "op sets that fuse have no fp8 pages"
            x, residual = self._fused(embedded, cos, sin, step.slots, cache.k, cache.v, step.plan)
        else:
            [(x, residual)] = deque(self._layer_outputs(embedded, cos, sin, step, cache), maxlen=1)
        if step.outputs.shape[0] < x.shape[0]:  # else all rows are outputs, as in pure decoding
            x, residual = x[step.outputs], residual[step.outputs]
        return self.kernels.rms_norm(x, self._norm, self.config.rms_norm_eps, residual)[0]

    @torch.inference_mode()
    def finite_parts(self, step: StepInput, cache: KVCache) -> Tensor:
        """Run `step` again, op by op, to find where the first non-finite numbers occur. K and V get the same values.

        Returns:
            `[rows]` int64 on the host: after how many parts of the model (the embedding, the layers, the final norm)
            the numbers of a row are still finite. `part_name` has their names.
        """
        cos, sin = self._rope.tables(step.plan.positions)
        embedded = self.kernels.embed(step.token_ids, self._embedding)
        states = [embedded]
        for x, residual in self._layer_outputs(embedded, cos, sin, step, cache):
            states.append(x + residual)
        states.append(self.kernels.rms_norm(x, self._norm, self.config.rms_norm_eps, residual)[0])
        finite = torch.stack([state.isfinite().all(dim=1) for state in states])
        return finite.long().cumprod(dim=0).sum(dim=0).cpu()

    def part_name(self, number: int) -> str:
        """The name of part `number` of `finite_parts`; the number after the last one is the LM head."""
        layers = (f"layer {index}" for index in range(len(self._layers)))
        return ("the embedding", *layers, "the final norm", "the LM head")[number]

    def _layer_outputs(
        self, x: Tensor, cos: Tensor, sin: Tensor, step: StepInput, cache: KVCache
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Run layer by layer, op by op; yield the MLP's output and the residual stream before it."""
        ops, eps, scale = self.kernels, self.config.rms_norm_eps, self.config.head_dim**-0.5
        residual: Tensor | None = None
        all_scales = [None] * len(self._layers) if cache.scales is None else cache.scales
        for layer, k_pages, v_pages, scales in zip(self._layers, cache.k, cache.v, all_scales, strict=True):
            normed, residual = ops.rms_norm(x, layer.input_norm, eps, residual)
            qkv = ops.linear(normed, layer.qkv)
            turns, norms = (cos[layer.rope], sin[layer.rope]), layer.head_norms
            q = ops.rope_store(qkv, layer.qkv_bias, *turns, step.slots, k_pages, v_pages, scales, norms)
            attended = ops.tree_attention(q, k_pages, v_pages, step.plan, scale, scales)
            x = ops.linear(attended.flatten(1), layer.attention_output)
            normed, residual = ops.rms_norm(x, layer.post_attention_norm, eps, residual)
            x = ops.linear(ops.silu_mul(ops.linear(normed, layer.gate_up)), layer.down)
            yield x, residual


class _WeightReader:
    """Reads a checkpoint's tensors in the form that the ops need."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        kernels: Kernels,
        dtype: torch.dtype,
        device: torch.device,
        compute: Compute,
        weights: WeightFormat,
    ) -> None:
        self._checkpoint = checkpoint
        self._kernels = kernels
        self._dtype = dtype
        self._device = device
        self._compute: Compute = compute
        self._weights: WeightFormat = weights

    def matrix(self, *names: str) -> PackedLinear:
        """The named matrices, stacked and packed."""
        try:
            parts = [converted(self._checkpoint.tensor(name), name, self._weights) for name in names]
            return self._kernels.pack_linear(parts, self._dtype, self._device, self._compute)
        except NonFiniteError:
            raise non_finite_tensor(self._checkpoint, names, self._dtype, self._weights) from None
        except BlockFormatError as error:
            raise BlockFormatError(f"{self._checkpoint.path}: {' and '.join(names)}: {error}") from error
        except (MemoryError, OSError) as error:  # of a mapping
            raise CheckpointError(
                f"{self._checkpoint.path}: this machine has not enough memory for {' and '.join(names)}: {error}"
            ) from error

    def vector(self, *names: str) -> Tensor:
        """The named vectors, concatenated."""
        parts = []
        for name in names:
            part = self._checkpoint.tensor(name)
            if not isinstance(part, Tensor):
                raise CheckpointError(f"{self._checkpoint.path}: {name} is block-quantised; a vector must be dense")
            kept = part.to(self._device, self._dtype)
            if not kept.isfinite().all():
                raise non_finite_tensor(self._checkpoint, (name,), self._dtype, self._weights)
            parts.append(kept)
        return torch.cat(parts)


def _read_layers(reader: _WeightReader, config: ModelConfig, rope: Rope) -> Iterator[LayerWeights]:
    for index in range(config.num_layers):
        prefix = f"model.layers.{index}."
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        norms = None
        if config.head_norms:
            q_norm, k_norm = (reader.vector(f"{attention}{part}_norm.weight") for part in "qk")
            norms = HeadNorms(q_norm, k_norm, config.rms_norm_eps)
        yield LayerWeights(
            input_norm=reader.vector(prefix + "input_layernorm.weight"),
            qkv=reader.matrix(*(f"{attention}{part}_proj.weight" for part in "qkv")),
            qkv_bias=reader.vector(*(f"{attention}{part}_proj.bias" for part in "qkv")) if config.qkv_bias else None,
            attention_output=reader.matrix(attention + "o_proj.weight"),
            post_attention_norm=reader.vector(prefix + "post_attention_layernorm.weight"),
            gate_up=reader.matrix(mlp + "gate_proj.weight", mlp + "up_proj.weight"),
            down=reader.matrix(mlp + "down_proj.weight"),
            head_norms=norms,
            rope=rope.table_of(index),
        )
