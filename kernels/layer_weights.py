"""The weights of a decoder layer, as an op set takes them."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from .plan import Plan

Compute = Literal["exact", "fast"]
"""How a packed weight is multiplied. *exact*: fp32 activations and sums. *fast*: where the weight is block-quantised,
the activations are rounded to int8 in blocks of 32 columns (`reference.quantize`) and products are summed as integers.
"""


class PackedLinear(Protocol):
    """A weight in the layout of an op set; made by its `pack_linear` and opaque to all other code."""

    @property
    def out_features(self) -> int:
        """Rows of the weight."""
        ...

    @property
    def in_features(self) -> int:
        """Columns of the weight."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of the packed weight, in bytes."""
        ...


class KVScales(NamedTuple):
    """The scales of a layer's fp8 KV cache: for head `h`, it stores the true values divided by `scale[h]`.

    Attributes:
        k: `[kv_heads]` fp32.
        v: `[kv_heads]` fp32.
    """

    k: Tensor
    v: Tensor


class HeadNorms(NamedTuple):
    """RMSNorm of every head of Q and K, before they are rotated (Qwen3 technical report, arXiv 2505.09388).

    Attributes:
        q: `[head_dim]`, the weight for heads of Q.
        k: `[head_dim]`, the weight for heads of K.
        eps: Added to the mean squares.
    """

    q: Tensor
    k: Tensor
    eps: float


class LayerWeights(NamedTuple):
    """The weights of one decoder layer.

    Attributes:
        input_norm: `[hidden]`, RMSNorm before attention.
        qkv: `[(heads + 2 * kv_heads) * head_dim, hidden]`.
        qkv_bias: `[(heads + 2 * kv_heads) * head_dim]` or None.
        attention_output: `[hidden, heads * head_dim]`.
        post_attention_norm: `[hidden]`, RMSNorm before the MLP.
        gate_up: `[2 * width, hidden]`, gate rows first.
        down: `[hidden, width]`.
        head_norms: Norms of the heads of Q and K, or None.
        rope: Index of the step's table of cosines and sines that rotates Q and K.
    """

    input_norm: Tensor
    qkv: PackedLinear
    qkv_bias: Tensor | None
    attention_output: PackedLinear
    post_attention_norm: Tensor
    gate_up: PackedLinear
    down: PackedLinear
    head_norms: HeadNorms | None = None
    rope: int = 0


class FusedLayers(Protocol):
    """A stack of decoder layers that runs in one call. The result has the same bits as with separate ops."""

    def __call__(
        self, x: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, k_cache: Tensor, v_cache: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        """Run every layer.

        Args:
            x: `[rows, hidden]`, the embeddings of the tokens.
            cos: `[tables, rows, head_dim / 2]` fp32, see `Kernels.rope_store` and `LayerWeights.rope`.
            sin: Same shape.
            slots: `[rows]` int64, see `Kernels.rope_store`.
            k_cache: `[layers, pages, kv_heads, page_size, head_dim]`, written in place.
            v_cache: Same shape.
            plan: See `Kernels.tree_attention`.

        Returns:
            The output of the last MLP, and the residual stream before it is added, both `[rows, hidden]`.
        """
        ...
