"""Decodes rows of a quantised weight, to gather embeddings or to multiply a part of the weight with many rows."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator

import torch
import triton.language as tl
from torch import Tensor

from ..arch import Arch
from ..launch import launched
from ..variant import Variant, pointer_to
from .block_codes import CodeFormat
from .code_numbers import codes_of_plane
from .code_variants import code_formats, code_name, word_arguments
from .packed_linear import DenseSection, QuantizedSection, TritonLinear
from .weight_tile import factor_words, factors_of

_DECODED_ROWS = 32
"""Rows that a thread block decodes."""


@launched(tensors=5, counts=2)
def _decode(
    y,
    ids,
    codes,
    factors,
    supers,
    count,
    first,
    outs,
    columns,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    CENTRE: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Decode a strip of columns for `ROWS` of the `ids`, if they are in the section, whose first row has id `first`."""
    PLANES: tl.constexpr = 16 // BITS
    lane = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.load(ids + lane, lane < count, -1) - first
    is_here = (out >= 0) & (out < outs)
    out = tl.where(is_here, out, 0)
    strip = tl.program_id(1)
    word = tl.arange(0, 16)
    words = tl.load(codes + (strip.to(tl.int64) * outs + out)[:, None] * 16 + word[None, :], is_here[:, None], 0)
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    pair = factor_words(factors, supers, out, outs, strip * 16 * PLANES // CHUNK, columns, GROUP)
    for plane in tl.static_range(PLANES):
        column = (strip * PLANES + plane) * 16
        scale, minimum = factors_of(pair, column % CHUNK // GROUP, CENTRE, supers is not None)
        value = (codes_of_plane(words, plane, BITS).to(tl.int16) - CENTRE).to(tl.float32) * scale[:, None]
        if CENTRE == 0:
            value += minimum[:, None]
        place = lane.to(tl.int64)[:, None] * columns + column + word[None, :]
        tl.store(y + place, value.to(y.dtype.element_ty), (is_here & (column < columns))[:, None])


def embed(ids: Tensor, weight: TritonLinear) -> Tensor:
    """Gather rows of the embedding. See `Kernels.embed`."""
    ids = ids.contiguous()
    if len(weight.sections) == 1 and isinstance(weight.sections[0], DenseSection):
        return weight.sections[0].matrix[ids]
    y = torch.empty(len(ids), weight.in_features, dtype=weight.dtype, device=ids.device)
    for first, section in weight.placed() if len(ids) else ():
        if isinstance(section, QuantizedSection):
            decode_rows(y, ids, section, first)
        else:
            is_here = (ids >= first) & (ids < first + section.rows)
            rows = section.matrix[(ids - first).clamp(0, section.rows - 1)]
            y = torch.where(is_here[:, None], rows, y)
    return y


def decode_rows(y: Tensor, ids: Tensor, section: QuantizedSection, first: int) -> None:
    """Write the rows of `y` whose id is in `section`, which begins with row `first` of the weight."""
    format = section.format
    strips = section.codes.shape[0]
    _decode[-(-len(ids) // _DECODED_ROWS), strips](
        y, ids, *section.words, len(ids), first, section.rows, y.shape[1],
        format.bits, format.group, format.centre, _DECODED_ROWS, num_warps=4,
    )  # fmt: skip


def embed_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `decode_rows` launches in 16 bits."""
    for dtype in (torch.float16, torch.bfloat16):
        for format in code_formats():
            yield _variant(pointer_to(dtype), format)


def _variant(tensor: str, format: CodeFormat) -> Variant:
    packed, constants = word_arguments(format)
    tensors = {"y": tensor, "ids": "*i64"} | packed
    signature = tensors | dict.fromkeys(("count", "first", "outs", "columns"), "i32")
    constants |= {"ROWS": _DECODED_ROWS}
    name = f"embed {tensor[1:]} {code_name(format)}"
    return Variant(name, _decode, signature, constants, 4, 3, (*tensors, "outs", "columns"))
