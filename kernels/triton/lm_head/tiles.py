"""Multiplies hidden states with tiles of the LM head, and processes the logits while they are in registers.

For each row of a tile, the kernel records the largest logit and an upper bound of the scores in the Gumbel draw, and it
adds up the exponentials. The best `k` tokens of a row are in the `k` tiles with the largest maxima. So once a bound is
known, a row of a tile is written to memory only if its maximum may be among those `k`, or if it may hold the drawn
token. Nothing is sorted here.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...sampling import Draw
from ..arch import Arch
from ..linear.block_codes import CodeFormat
from ..linear.code_variants import code_formats, code_name, word_arguments
from ..linear.packed_linear import QuantizedSection, Section
from ..linear.weight_tile import dense_tile, exact_tiles
from ..variant import Variant, pointer_to
from .draw import promise_of_tile, token_of_column
from .partial import Partial
from .shape import DENSE, TILE, TileShape, blocks_of_rows, tile_shape

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def quarters(tile):
    """Split a tile into four consecutive blocks of columns, without moving data."""
    ROWS: tl.constexpr = tile.shape[0]
    parts = tl.permute(tl.reshape(tile, [ROWS, 2, 2, tile.shape[1] // 4]), (0, 3, 1, 2))
    even, odd = tl.split(parts)
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def _add_exponentials(largest, total, new, parts, factor, PARTS: tl.constexpr):
    """Rescale a sum of `2 ** (factor * (logit - largest))` to the maximum `new`, and add the logits of a tile to it."""
    none = tl.zeros_like(parts[0])
    offset = -new * factor
    total = total * tl.exp2(largest * factor + offset)
    for part in tl.static_range(PARTS):
        total += tl.sum(tl.exp2(tl.fma(parts[part], factor[:, None] + none, offset[:, None] + none)), axis=1)
    return total


@triton.jit
def _write_out(logits, writes, parts, row, place, capacity, PARTS: tl.constexpr):
    """Store those rows of a tile that `writes` marks."""
    COLUMNS: tl.constexpr = parts[0].shape[1]
    if tl.max(writes.to(tl.int32), axis=0) > 0:
        line = logits + (row.to(tl.int64) * capacity + place) * (PARTS * COLUMNS)
        for part in tl.static_range(PARTS):
            column = part * COLUMNS + tl.arange(0, COLUMNS)
            # Without this `where`, the compiler moves all parts to other registers at once, to store them side by side.
            written = tl.where(writes[:, None], parts[part], 0.0)
            tl.store(line[:, None] + column[None, :], written, writes[:, None])


@triton.jit(
    do_not_specialize=[
        *(
            "rows",
            "first_token",
            "first_tile",
            "amount",
            "step",
            "tiles",
            "capacity",
            "room",
            "first_shard",
            "all_shards",
        ),
        *("shards", "row_blocks", "has_bound", "has_targets", "has_draw"),
    ]
)
def _tiles(
    logits,
    maxima,
    promises,
    places,
    tokens,
    sums,
    scaled_sums,
    counts,
    bounds,
    bound_tiles,
    best_scores,
    hidden,
    matrix,
    factors,
    supers,
    targets,
    temperatures,
    keys,
    positions,
    rows,
    outs,
    columns,
    stride,
    first_token,
    first_tile,
    amount,
    step,
    tiles,
    capacity,
    room,
    first_shard,
    all_shards,
    shards,
    row_blocks,
    has_bound,
    has_targets,
    has_draw,
    MAY_DRAW: tl.constexpr,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    CENTRE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TILE: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Multiply a block of rows with every `shards`-th of `amount` tiles of a section of the vocabulary.

    Without a bound, the `amount` tiles are every `step`-th of the section, and each has a fixed place in `logits`. With
    a bound, they are all the others, and a row of a tile that is stored takes the next free place.
    """
    shard = tl.program_id(0) // row_blocks
    first_row = tl.program_id(0) % row_blocks * BLOCK_M
    lanes = first_row + tl.arange(0, BLOCK_M)
    largest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    scaled_total = tl.zeros([BLOCK_M], tl.float32)
    any_draws = False
    if MAY_DRAW:
        any_draws = tl.max(tl.load(temperatures + lanes, (lanes < rows) & (has_draw != 0), 0.0), axis=0) > 0

    for number in range(shard, amount, shards):
        # The shift gives 0, but the compiler does not know that. So it computes what depends on the rows where it is
        # used, instead of keeping it in registers for the whole loop.
        row = lanes + (number >> 30)
        is_row = row < rows
        block = tl.where(has_bound != 0, number + number // tl.maximum(step - 1, 1) + 1, number * step)
        # Tiles begin at multiples of their size, even if the section of the vocabulary does not.
        start = (first_token // TILE + block) * TILE
        token = token_of_column(start + tl.arange(0, TILE))
        out = token - first_token
        is_out = (out >= 0) & (out < outs)
        out = tl.minimum(tl.maximum(out, 0), outs - 1)
        if BITS == 16:
            product = dense_tile(matrix, hidden, out, row, rows, columns, stride, BLOCK_K)
        else:
            product = exact_tiles(
                matrix, factors, supers, hidden, out, row, rows, outs, columns, stride,
                0, columns, BITS, GROUP, CENTRE, True, 1, False, False,
            )[0]  # fmt: skip
        product = tl.where(is_out[None, :], product, float("-inf"))
        highest = tl.max(product, axis=1)
        parts = quarters(product) if PARTS == 4 else (product,)
        new = tl.maximum(largest, highest)
        total = _add_exponentials(largest, total, new, parts, tl.full([BLOCK_M], _LOG2E, tl.float32), PARTS)
        tile = first_tile + block
        tl.store(tokens + tile, start)
        tl.store(maxima + row * tiles + tile, highest, is_row)
        place = first_tile + number + tl.zeros([BLOCK_M], tl.int32)
        writes = is_row
        if has_bound != 0:
            bound, before = tl.load(bounds + row, is_row, 0.0), tl.load(bound_tiles + row, is_row, 0)
            writes &= (highest > bound) | ((highest == bound) & (tile < before))
        if any_draws:
            temperature = tl.load(temperatures + row, is_row, 0.0)
            is_drawing = temperature > 0
            inverse = 1.0 / tl.where(is_drawing, temperature, 1.0)
            scaled_total = _add_exponentials(largest, scaled_total, new, parts, inverse * _LOG2E, PARTS)
            key, position = tl.load(keys + row, is_row, 0), tl.load(positions + row, is_row, 0)
            promise = promise_of_tile(parts, start, inverse, key, position, number >> 30, PARTS)
            tl.store(promises + row * tiles + tile, promise, is_row)
            if has_bound != 0:
                writes |= is_drawing & (promise >= tl.load(best_scores + row, is_drawing, 0.0))
        if has_bound != 0:
            place = tl.atomic_add(counts + row, 1, writes, sem="relaxed")
            writes &= place < room
            if has_targets != 0:
                target = tl.load(targets + row, is_row, -1).to(tl.int32) - start
                has_target = (target >= 0) & (target < TILE)
                place = tl.where(has_target, capacity - 1, place)
                writes |= has_target
        tl.store(places + row * tiles + tile, tl.where(writes, place, -1), is_row)
        _write_out(logits, writes, parts, row, place, capacity, PARTS)
        largest = new

    slot = lanes * all_shards + first_shard + shard
    tl.store(sums + slot, largest + tl.log2(total) * _LN2, lanes < rows)
    if any_draws:
        temperature = tl.load(temperatures + lanes, lanes < rows, 0.0)
        is_drawing = temperature > 0
        inverse = 1.0 / tl.where(is_drawing, temperature, 1.0)
        tl.store(scaled_sums + slot, largest * inverse + tl.log2(scaled_total) * _LN2, is_drawing)


class Tokens(NamedTuple):
    """The part of the vocabulary that one launch multiplies.

    Attributes:
        section: Rows of the weight.
        first: Token id of the section's first row.
        first_tile: Index of the section's first tile, counted over all sections.
        tiles: Number of tiles that the launch processes.
        step: Without a bound, the launch takes every `step`-th tile; with one, all the others.
        first_shard: Index of the launch's first shard in `Partial.sums`.
    """

    section: Section
    first: int
    first_tile: int
    tiles: int
    step: int
    first_shard: int


def multiply(
    partial: Partial,
    hidden: Tensor,
    part: Tokens,
    shape: TileShape,
    shards: int,
    targets: Tensor | None,
    draw: Draw | None,
    room: int = 0,
) -> None:
    """Multiply hidden states with a part of the vocabulary, and record the results in `partial`.

    Args:
        partial: Receives the results; with a bound, also provides it.
        hidden: `[rows, columns]`, as returned by `activations` for the section.
        part: The section of the weight, and which of its tiles to multiply.
        shape: Launch shape of a thread block.
        shards: Number of thread blocks per block of rows.
        targets: `[rows]` int64, tokens whose logits are wanted, or None.
        draw: Parameters of the draw, or None.
        room: 0 if no bound is known. Otherwise, the number of tiles that can be stored for each row, including those of
            the sample; a row of a tile is stored only if it is above the bound.
    """
    rows, all_shards = partial.sums.shape
    # A tensor of the same type stands in for whatever is not wanted.
    scaled_sums = partial.sums if partial.scaled_sums is None else partial.scaled_sums
    promises = partial.sums if partial.promises is None else partial.promises
    longs = partial.chosen
    draws = (partial.sums, longs, longs) if draw is None else draw
    section = part.section
    format = section.format if isinstance(section, QuantizedSection) else DENSE
    weight = section.words if isinstance(section, QuantizedSection) else (section.matrix, None, None)
    row_blocks = triton.cdiv(rows, shape.rows)
    limit = {} if shape.registers is None else {"maxnreg": shape.registers}
    _tiles[row_blocks * shards,](
        partial.logits, partial.maxima, promises, partial.places, partial.tokens, partial.sums, scaled_sums,
        partial.counts, partial.bounds, partial.bound_tiles, partial.best_scores,
        hidden, *weight, longs if targets is None else targets, *draws,
        rows, section.rows, hidden.shape[1], hidden.stride(0), part.first, part.first_tile, part.tiles, part.step,
        partial.maxima.shape[1], partial.logits.shape[1], room, part.first_shard, all_shards, shards, row_blocks,
        int(room > 0), int(targets is not None), int(draw is not None),
        MAY_DRAW=shape.draws, BITS=format.bits, GROUP=format.group, CENTRE=format.centre,
        BLOCK_M=shape.rows, BLOCK_K=shape.columns, TILE=TILE, PARTS=shape.parts,
        num_warps=shape.warps, num_stages=shape.stages, **limit,
    )  # fmt: skip


_NUMBERS = (
    *("rows", "first_token", "first_tile", "amount", "step", "tiles", "capacity", "room", "first_shard", "all_shards"),
    *("shards", "row_blocks", "has_bound", "has_targets", "has_draw"),
)


def tile_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `multiply` launches in 16 bits for hidden sizes that are multiples of 16."""
    for dtype in (torch.float16, torch.bfloat16):
        for format in (DENSE, *code_formats()):
            for rows in blocks_of_rows(arch, format, dtype):
                shapes = [tile_shape(arch, format, rows, dtype, has_draw) for has_draw in (False, True)]
                for shape in dict.fromkeys(shapes):
                    yield _variant(dtype, format, shape)


def _variant(dtype: torch.dtype, format: CodeFormat, shape: TileShape) -> Variant:
    x = pointer_to(dtype)
    if format == DENSE:
        weight: dict[str, str] = {"matrix": x}
        constants: dict[str, object] = {"BITS": format.bits, "GROUP": format.group, "CENTRE": format.centre}
        constants |= dict.fromkeys(("factors", "supers"))
    else:
        weight, constants = word_arguments(format)
        weight["matrix"] = weight.pop("codes")
    floats = ("logits", "maxima", "promises", "sums", "scaled_sums", "bounds", "best_scores", "temperatures")
    tensors = dict.fromkeys(floats, "*fp32") | dict.fromkeys(("targets", "keys", "positions"), "*i64")
    tensors |= dict.fromkeys(("places", "tokens", "counts", "bound_tiles"), "*i32")
    tensors |= {"hidden": x} | weight
    sizes = ("outs", "columns", "stride")
    constants |= {
        "MAY_DRAW": shape.draws,
        "BLOCK_M": shape.rows,
        "BLOCK_K": shape.columns,
    }
    constants |= {"TILE": TILE, "PARTS": shape.parts}
    kind = "dense" if format == DENSE else code_name(format)
    name = f"lm_head_topk {x[1:]} {kind} m{shape.rows}{'' if shape.draws else ' no draw'}"
    signature = tensors | dict.fromkeys((*sizes, *_NUMBERS), "i32")
    return Variant(name, _tiles, signature, constants, shape.warps, shape.stages, (*tensors, *sizes), shape.registers)
