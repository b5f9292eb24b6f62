"""The ops that a model needs, with one signature for all implementations.

An implementation of all ops is an *op set*. The one in `reference/` is the specification that tests compare with; the
others differ from it only in speed and rounding. Tensors are on the set's device. `rows` is the number of tokens in one
forward pass, over all branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .blocks import Weight
from .layer_weights import Compute, FusedLayers, HeadNorms, KVScales, LayerWeights, PackedLinear
from .plan import Plan, Tiling
from .sampling import Draw, HeadTopK, RoundState, Sampled, SampleParams


class Kernels(Protocol):
    """A complete op set; a module with these functions is one too.

    Each set may order the values inside a page `[kv_heads, page_size, head_dim]` in its own way, because only its
    `rope_store` writes them and only its `tree_attention` reads them.
    """

    @property
    def name(self) -> str:
        """The name of this set in `MARCOT_KERNELS`."""
        ...

    @property
    def keys_by_dim(self) -> bool:
        """Whether K pages are laid out as `[kv_heads, head_dim, page_size]`, so that a SIMD vector spans tokens."""
        ...

    @property
    def fast_is_faster(self) -> bool:
        """Whether compute mode `fast` saves time in this set; if not, it is for comparison only."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether results are batch-invariant: a row has the same bits in any batch. Plans then have fixed tiles."""
        ...

    @property
    def fp8_dtype(self) -> torch.dtype | None:
        """Dtype of 8-bit pages, which have `KVScales`, or None if pages can only have the dtype of the activations."""
        ...

    def tiling(self, heads: int, kv_heads: int) -> Tiling | None:
        """How plans for `tree_attention` must be cut into tiles, or None if this set reads their items.

        Args:
            heads: Query heads.
            kv_heads: KV heads, a divisor of `heads`.
        """
        ...

    def pack_linear(
        self, parts: Sequence[Weight], dtype: torch.dtype, device: torch.device, compute: Compute = "exact"
    ) -> PackedLinear:
        """Stack `parts` along their rows and pack them once, for `linear`, `embed` and `lm_head_topk`.

        Args:
            parts: Matrices `[n_i, in_features]`, dense or block-quantised; formats may differ.
            dtype: Compute dtype of the activations.
            device: Device of the packed weight.
            compute: How the weight will be multiplied.

        Raises:
            NonFiniteError: A value is infinite or NaN, or becomes so when it is packed.
        """
        ...

    def fuse(self, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> FusedLayers | None:
        """Fuse a stack of layers into one call, or return None if the ops are to be called one by one.

        Args:
            layers: All layers of a decoder, in the order in which they run.
            eps: Added to the mean square in their norms.
            head_dim: Width of an attention head; the scores' scale is `head_dim ** -0.5`.
        """
        ...

    def linear(self, x: Tensor, weight: PackedLinear) -> Tensor:
        """`y = x Wᵀ`.

        Args:
            x: `[rows, in_features]`.
            weight: `[out_features, in_features]`, packed.

        Returns:
            `[rows, out_features]` in the dtype of `x`.
        """
        ...

    def embed(self, ids: Tensor, weight: PackedLinear) -> Tensor:
        """Gather the embedding rows of `ids` (`[rows]` int64); returns `[rows, in_features]` in the packed dtype.

        What an id outside the vocabulary leads to depends on the set, because checking ids on a GPU would mean waiting
        for it; sets on the CPU raise a `KernelArgumentError`.
        """
        ...

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """`h = x + residual`, then `h / sqrt(mean(h²) + eps) * weight`, in one pass (arXiv 1910.07467).

        Args:
            x: `[rows, hidden]`.
            weight: `[hidden]`.
            eps: Added to the mean square.
            residual: `[rows, hidden]`, or None for zero.

        Returns:
            The normed rows and `h`, both `[rows, hidden]` in the dtype of `x`.
        """
        ...

    def rope_store(
        self,
        qkv: Tensor,
        bias: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        k_pages: Tensor,
        v_pages: Tensor,
        scales: KVScales | None = None,
        norms: HeadNorms | None = None,
    ) -> Tensor:
        """Add the QKV bias, norm the heads of Q and K, rotate them, and write K and V to their slots, in one pass.

        The rotation is RoPE (arXiv 2104.09864) in the halves convention.

        Args:
            qkv: `[rows, (heads + 2 * kv_heads) * head_dim]`.
            bias: `[(heads + 2 * kv_heads) * head_dim]` or None.
            cos: `[rows, head_dim / 2]` fp32, cosines of each row's position, attention factor included.
            sin: `[rows, head_dim / 2]` fp32.
            slots: `[rows]` int64, `page * page_size + slot`; -1 writes nothing.
            k_pages: `[pages, kv_heads, page_size, head_dim]`, written in place.
            v_pages: Same shape as `k_pages`, written in place.
            scales: Scales of fp8 pages; None for pages in the dtype of `qkv`.
            norms: Norms of the heads of Q and K, applied before they are rotated; None for no norm.

        Returns:
            Rotated queries `[rows, heads, head_dim]` in the dtype of `qkv`.
        """
        ...

    def tree_attention(
        self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, scale: float, scales: KVScales | None = None
    ) -> Tensor:
        """Softmax attention of each query over the whole path of its branch, following `plan`.

        Args:
            q: `[rows, heads, head_dim]`; query head `h` reads KV head `h // (heads / kv_heads)`.
            k_pages: `[pages, kv_heads, page_size, head_dim]`; slots outside the plan may hold anything, NaN included.
            v_pages: Same shape as `k_pages`.
            plan: Work items that cover every row's path.
            scale: Factor of the scores, above 0; usually `head_dim ** -0.5`.
            scales: Scales of fp8 pages; None for pages in the dtype of `q`.

        Returns:
            `[rows, heads, head_dim]` in the dtype of `q`.
        """
        ...

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """SwiGLU (arXiv 2002.05202): `silu(gate) * up`.

        `gate_up` is `[rows, 2 * width]`, gate columns first; returns `[rows, width]`.
        """
        ...

    def lm_head_topk(
        self, hidden: Tensor, weight: PackedLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        """LM head fused with log-sum-exp, top-k, target gather and the Gumbel-max draw.

        Logits are processed where they are computed, and not returned. A set may keep some of them in memory for a
        second pass: on a GPU some 20 MB for up to 34 rows, and less than half of all logits for more.

        The draw is `argmax_t logit_t / temperature + G(key, position, t)` with the Gumbel noise of
        `reference.philox.gumbel`, so that it equals sampling from the softmax and depends on nothing but the row.

        If a row has a logit that is NaN or +inf, its `lse` is not finite, and its other results are undefined.

        Args:
            hidden: `[rows, hidden]`, after the final norm.
            weight: `[vocab, hidden]`, packed.
            k: How many of the most probable tokens to return; `1 <= k <= min(vocab, MAX_TOP_K)`.
            targets: `[rows]` int64, tokens whose logits are wanted, or None.
            draw: Parameters of the draw, or None for no draw.
        """
        ...

    def sample(self, head: HeadTopK, params: SampleParams) -> Sampled:
        """Choose a token for each row among the candidates that `lm_head_topk` kept.

        The logits are scaled, truncated and drawn from by Gumbel-max (`reference.pick`), exactly as on the whole
        vocabulary. The choice is left open (not settled) if top-k, the nucleus or min-p extend beyond the row's
        candidates, or if the log-sum-exp or a logit that the row uses is NaN or not below `MOST_LOGIT`. A row with a
        temperature and no truncation takes the token that the LM head has drawn. Every set chooses the same tokens.

        Args:
            head: `[rows, k]` candidates. The drawn tokens and `scaled_lse` are read for rows without top-k, and must be
                for the same temperature; without them, the draw or the nucleus of such a row is left open.
            params: How each row samples.
        """
        ...

    def advance(self, state: RoundState, head: HeadTopK, params: SampleParams) -> None:
        """Choose tokens as `sample` does, then advance every row that has not ended and whose choice is settled.

        For such a row, the token and the candidates that it was drawn from are written to index `drawn` of the results.
        The token becomes the next input, at the next position and in its slot of `next_places`, and `drawn` goes up by
        one. The row ends if the token is among its `ends` or `drawn` reaches its `limit`. In a row that is not settled,
        only `settled` changes; in one that has ended, nothing does. If such rows run again, they write the same K and V
        to the same slots.

        Args:
            state: Changed in place.
            head: `[rows, k]` candidates, as many as the state has room for.
            params: How each row samples.
        """
        ...
