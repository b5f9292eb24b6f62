"""The op set: one signature for every implementation.

`reference/` is the specification and every test's oracle; other sets differ from it in speed and rounding only.
Tensors live on the set's device. `rows` counts the tokens of one forward step, over all branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from .blocks import Weight
from .plan import Plan, Tiling

MAX_TOP_K = 64
"""Largest `k` of `lm_head_topk`: what a GPU tile keeps in registers while the vocabulary streams by."""

MOST_LOGIT = 1e20
"""Above every logit that is drawn from: temperatures and penalties neither overflow it nor make it zero in fp32."""

Compute = Literal["exact", "fast"]
"""How a packed weight is multiplied. *exact*: fp32 activations and sums. *fast*: where the weight is block-quantised,
the activations are rounded to int8 in blocks of 32 columns (`reference.quantize`) and products are summed as integers.
"""


class PackedLinear(Protocol):
    """A weight in the layout that its kernel set reads; made by `pack_linear`, opaque to everyone else."""

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
        """Memory that the packed weight holds, in bytes."""
        ...


class Draw(NamedTuple):
    """What a Gumbel-max draw over the whole vocabulary needs.

    Attributes:
        temperature: `[rows]` fp32; rows at 0 are skipped, their results are undefined.
        key: `[rows]` int64, the Philox key of the row's branch.
        position: `[rows]` int64, the absolute position of the token to be drawn.
    """

    temperature: Tensor
    key: Tensor
    position: Tensor


class HeadTopK(NamedTuple):
    """What is left of a row of logits.

    Attributes:
        top_ids: `[rows, k]` int64, the most probable tokens, best first.
        top_logits: `[rows, k]` fp32, their raw logits.
        lse: `[rows]` fp32, log-sum-exp of all raw logits: `logprob = logit - lse`.
        target_logits: `[rows]` fp32 raw logits of the requested targets, or None.
        drawn_ids: `[rows]` int64, the Gumbel-max draws, or None without a `Draw`.
        drawn_logits: `[rows]` fp32, their raw logits, or None.
        scaled_lse: `[rows]` fp32, log-sum-exp of logits / temperature, or None without a `Draw`.
    """

    top_ids: Tensor
    top_logits: Tensor
    lse: Tensor
    target_logits: Tensor | None
    drawn_ids: Tensor | None
    drawn_logits: Tensor | None
    scaled_lse: Tensor | None

    def select(self, rows: Tensor | slice) -> HeadTopK:
        """What is left of some of the rows: a slice of them, or int64 indices."""
        return self._replace(**{name: part[rows] for name, part in self._asdict().items() if part is not None})


class SampleParams(NamedTuple):
    """How the next token of each row is chosen, all `[rows]`. The order is temperature, top-k, top-p, min-p.

    Attributes:
        temperature: fp32, divides the logits; 0 is greedy.
        top_k: int32, how many of the most probable tokens are kept; 0 keeps all.
        top_p: fp64, the smallest set of most probable tokens whose probability reaches it is kept; 1 keeps all.
        min_p: fp32, tokens at least so many times as probable as the best are kept; 0 keeps all.
        width: int32, how many candidates the row may use, so that a neighbour who wants more changes nothing. 0 leaves
            the choice open whatever the candidates are.
        key: int64, the Philox key of the row's branch.
        position: int64, the absolute position of the token to be drawn.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    width: Tensor
    key: Tensor
    position: Tensor


class Sampled(NamedTuple):
    """Chosen tokens. Of a row that is not settled, `ids` and `logits` mean nothing.

    Attributes:
        ids: `[rows]` int64.
        logits: `[rows]` fp32, their raw logits.
        settled: `[rows]` bool, whether the candidates settle the choice and the row's numbers are finite.
    """

    ids: Tensor
    logits: Tensor
    settled: Tensor


class RoundState(NamedTuple):
    """The rows of a batch while the device decodes up to `T` tokens of each; `advance` changes it in place.

    Attributes:
        token_ids: `[rows]` int64, the token that each row runs next.
        positions: `[rows]` int32, its position, `Plan.positions`.
        places: `[rows]` int64, its cache slot, see `Kernels.rope_store`.
        draw_position: `[rows]` int64, the memory of `SampleParams.position` and `Draw.position`.
        next_places: `[rows, T]` int64, the cache slot of the i-th token that the row draws.
        ends: `[rows, S]` int64, tokens that end the row; -1 pads.
        limit: `[rows]` int32, tokens that the row may draw, at most `T`.
        drawn: `[rows]` int32, how many it has drawn; at first 0.
        ended: `[rows]` uint8, whether it draws no more; at first 0, or 1 for a padded row.
        settled: `[rows]` uint8, whether its last choice was settled.
        drawn_ids: `[T, rows]` int32, the tokens, in the order in which each row drew them.
        drawn_logits: `[T, rows]` fp32, their raw logits.
        lse: `[T, rows]` fp32, `HeadTopK.lse` of what they were drawn from.
        top_ids: `[T, rows, k]` int32, the candidates that they were drawn from.
        top_logits: `[T, rows, k]` fp32.
    """

    token_ids: Tensor
    positions: Tensor
    places: Tensor
    draw_position: Tensor
    next_places: Tensor
    ends: Tensor
    limit: Tensor
    drawn: Tensor
    ended: Tensor
    settled: Tensor
    drawn_ids: Tensor
    drawn_logits: Tensor
    lse: Tensor
    top_ids: Tensor
    top_logits: Tensor


class KVScales(NamedTuple):
    """What a layer's KV cache in fp8 needs: the value of head `h` in it is the true one divided by `scale[h]`.

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
        head_norms: Of Q and K, or None.
        rope: Which of a step's tables of cosines and sines rotates Q and K.
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
    """A stack of decoder layers that runs in one call. The result is bit for bit that of the single ops."""

    def __call__(
        self, x: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, k_cache: Tensor, v_cache: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        """Run every layer.

        Args:
            x: `[rows, hidden]`, embedded tokens.
            cos: `[tables, rows, head_dim / 2]` fp32, see `Kernels.rope_store` and `LayerWeights.rope`.
            sin: Same shape.
            slots: `[rows]` int64, see `Kernels.rope_store`.
            k_cache: `[layers, pages, kv_heads, page_size, head_dim]`, written in place.
            v_cache: Same shape.
            plan: See `Kernels.tree_attention`.

        Returns:
            The last MLP's output and the residual stream before it, both `[rows, hidden]`.
        """
        ...


class Kernels(Protocol):
    """A complete op set. A module with these functions is one.

    How the values of a page lie inside `[kv_heads, page_size, head_dim]` is the set's own affair: `rope_store` writes
    them and `tree_attention` reads them.
    """

    @property
    def name(self) -> str:
        """What `MARCOT_KERNELS` calls this set."""
        ...

    @property
    def keys_by_dim(self) -> bool:
        """Whether K pages hold `[kv_heads, head_dim, page_size]` instead, so that a vector spans tokens."""
        ...

    @property
    def fast_is_faster(self) -> bool:
        """Whether `fast` gains time here, or is there for comparison only."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether results are batch-invariant: a row's have the same bits in any batch. Tiles of plans are fixed."""
        ...

    @property
    def fp8_dtype(self) -> torch.dtype | None:
        """Dtype of pages that have `KVScales`, or None where pages have the dtype of the activations only."""
        ...

    def tiling(self, heads: int, kv_heads: int) -> Tiling | None:
        """How plans for `tree_attention` are to be cut into tiles, or None where their items are enough.

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
            parts: Matrices `[n_i, in_features]`, dense or block-quantised, each of its own format.
            dtype: Compute dtype of the activations.
            device: Where the packed weight lives.
            compute: How it will be multiplied.

        Raises:
            NonFiniteError: A value is infinite or NaN, be it only as it is packed.
        """
        ...

    def fuse(self, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> FusedLayers | None:
        """Make one call of a stack of layers, or None where the ops are called one by one.

        Args:
            layers: All layers of a decoder, top to bottom.
            eps: Of their norms.
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

        An id outside the vocabulary is an error of the set's own kind, as looking on the device would mean waiting for
        it; sets on the CPU raise a `KernelArgumentError`.
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
            scales: Of pages in fp8; None for pages in the dtype of `qkv`.
            norms: Of the heads of Q and K, taken before they are rotated; None for no norm.

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
            scale: Multiplies the scores, usually `head_dim ** -0.5`.
            scales: Of pages in fp8; None for pages in the dtype of `q`.

        Returns:
            `[rows, heads, head_dim]` in the dtype of `q`.
        """
        ...

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """SwiGLU (arXiv 2002.05202): `silu(gate) * up` of `[rows, 2 * width]` as gate | up; returns `[rows, width]`."""
        ...

    def lm_head_topk(
        self, hidden: Tensor, weight: PackedLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        """LM head fused with log-sum-exp, top-k, target gather and the Gumbel-max draw.

        Logits are used up where they are computed. What a set sets aside of them for a second look is its own affair:
        on a GPU some 20 MB for up to 34 rows, and less than half of all logits for more.

        The draw is `argmax_t logit_t / temperature + G(key, position, t)` with the Gumbel noise of
        `reference.philox.gumbel`, so that it equals sampling from the softmax and depends on nothing but the row.

        Of a row with a logit that is NaN or +inf, `lse` is not finite, and nothing else means anything.

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

        Scale, truncate and draw by Gumbel-max (`reference.pick`) exactly as on the whole vocabulary, or leave the
        choice open: where top-k, the nucleus or min-p reach beyond the row's candidates, and where the log-sum-exp or a
        logit that the row uses is NaN or not below `MOST_LOGIT`. A row with a temperature and no truncation takes what
        the LM head has drawn. Every set chooses the same tokens.

        Args:
            head: `[rows, k]` candidates. What was drawn, and `scaled_lse`, are read for rows that no top-k limits, at
                the temperature of their `Draw`; without it their draw, or their nucleus, is left open.
            params: How each row samples.
        """
        ...

    def advance(self, state: RoundState, head: HeadTopK, params: SampleParams) -> None:
        """`sample`, and then move on every row that has not ended and whose choice is settled.

        Such a row's token and what it was drawn from go to place `drawn` of the results; the token becomes the one
        that is run next, at the next position and in its slot of `next_places`; `drawn` goes up by one. The row ends
        if the token is among its `ends` or `drawn` reaches its `limit`. Of a row that is not settled only `settled`
        changes, and nothing of one that has ended: run again, they write the same K and V to the same slots.

        Args:
            state: Changed in place.
            head: `[rows, k]` candidates, as many as the state has room for.
            params: How each row samples.
        """
        ...
