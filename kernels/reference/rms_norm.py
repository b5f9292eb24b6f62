"""Residual add and RMSNorm."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
    """`h = x + residual; h / sqrt(mean(h²) + eps) * weight`, the mean in fp32. See `Kernels.rms_norm`."""
    h = x if residual is None else x + residual
    wide = h.float()
    normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps)
    return weight * normed.to(x.dtype), h
