"""The ops of `Kernels` on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..blocks import Weight
from ..layer_weights import Compute, HeadNorms, KVScales, LayerWeights
from ..plan import Plan, Tiling
from ..sampling import Draw, HeadTopK, RoundState, Sampled, SampleParams
from .arch import Arch, detect_arch
from .attention.merge import Tickets
from .attention.shape import fp8_dtype, tiling
from .attention.tree_attention import tree_attention
from .linear.embed import embed
from .linear.linear import linear
from .linear.packed_linear import TritonLinear, pack
from .lm_head.lm_head_topk import lm_head_topk
from .rms_norm import rms_norm
from .rope_store import rope_store
from .sample import advance, sample
from .silu_mul import silu_mul


class TritonKernels:
    """Triton kernels in fp16, bf16 or fp32. With `TRITON_INTERPRET=1` they also run on the CPU, for tests."""

    name = "triton"
    keys_by_dim = False
    fast_is_faster = False

    def __init__(self, arch: Arch, deterministic: bool = False) -> None:
        """Make the op set for `arch`.

        Args:
            arch: GPU architecture that the kernels run on.
            deterministic: Whether linear layers and the LM head are batch-invariant, which takes
                tiles of one size for any number of rows, and kernels of our own in place of cuBLAS.
        """
        self._arch = arch
        self.deterministic = deterministic
        self.fp8_dtype = fp8_dtype(arch)
        self._tickets = Tickets()

    def tiling(self, heads: int, kv_heads: int) -> Tiling:
        """How plans are cut into tiles. See `Kernels.tiling`."""
        return tiling(self._arch, heads, kv_heads)

    def pack_linear(
        self, parts: Sequence[Weight], dtype: torch.dtype, device: torch.device, compute: Compute = "exact"
    ) -> TritonLinear:
        """Stack `parts`; quantised codes keep their values. See `Kernels.pack_linear`."""
        return pack(parts, dtype, device, compute)

    def fuse(self, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> None:
        """Return None: ops are called one by one, and a captured graph makes one call of them. See `Kernels.fuse`."""

    def linear(self, x: Tensor, weight: TritonLinear) -> Tensor:
        """`y = x Wᵀ`. See `Kernels.linear`."""
        return linear(self._arch, x, weight, self.deterministic)

    def embed(self, ids: Tensor, weight: TritonLinear) -> Tensor:
        """Gather rows of the embedding. See `Kernels.embed`."""
        return embed(ids, weight)

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Residual add and RMSNorm. See `Kernels.rms_norm`."""
        return rms_norm(x, weight, eps, residual)

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
        """QKV bias, norms of heads, RoPE and the write of K and V. See `Kernels.rope_store`."""
        return rope_store(qkv, bias, cos, sin, slots, k_pages, v_pages, scales, norms)

    def tree_attention(
        self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, scale: float, scales: KVScales | None = None
    ) -> Tensor:
        """Attention along every row's path. See `Kernels.tree_attention`."""
        return tree_attention(self._arch, self._tickets, q, k_pages, v_pages, plan, scale, scales)

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """SwiGLU's product. See `Kernels.silu_mul`."""
        return silu_mul(gate_up)

    def lm_head_topk(
        self, hidden: Tensor, weight: TritonLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        """LM head, log-sum-exp, top-k and draw. See `Kernels.lm_head_topk`."""
        return lm_head_topk(self._arch, hidden, weight, k, targets, draw, self.deterministic)

    def sample(self, head: HeadTopK, params: SampleParams) -> Sampled:
        """Choose among candidates. See `Kernels.sample`."""
        return sample(head, params)

    def advance(self, state: RoundState, head: HeadTopK, params: SampleParams) -> None:
        """Choose tokens and advance the rows that got one. See `Kernels.advance`."""
        advance(state, head, params)


def load(device: torch.device, deterministic: bool = False) -> TritonKernels:
    """The op set for `device`; see `TritonKernels`."""
    return TritonKernels(detect_arch(device), deterministic)
