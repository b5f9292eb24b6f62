"""The memory that a recorded decode step takes its input from."""

from __future__ import annotations

import math
from typing import Any, Generic, NamedTuple, Self, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import Draw, Plan, Tile, Tiles
from .decoder import Step

_ALIGNMENT = 256
"""Columns begin at multiples of so many bytes, as CUDA's own allocations do: kernels may load vectors of any width."""

_LEAST = 16
"""Smallest capacity of a table."""

_TILES_PER_ROW, _PARTIALS_PER_ROW, _SLOTS_PER_ROW = 2, 4, 64
"""What tables have room for at first: branches of a few dozen tokens behind a prefix, with some to spare."""


class Capacity(NamedTuple):
    """What a step may hold.

    Attributes:
        rows: Query rows, of which padded ones write nothing and read nothing.
        tiles: Rows of `Tiles.tiles`.
        partials: Entries of `Tiles.partials`.
        slots: Entries of `Tiles.slots`.
    """

    rows: int
    tiles: int
    partials: int
    slots: int

    @classmethod
    def least(cls, rows: int) -> Self:
        """Of the tables that a bucket begins with."""
        per_row = (_TILES_PER_ROW, _PARTIALS_PER_ROW, _SLOTS_PER_ROW)
        return cls(rows, *(max(_LEAST, _power_of_two(rows * each)) for each in per_row))

    def grown(self, tiles: Tiles) -> Self:
        """Enough for `tiles` as well: powers of two, so that growing is rare however slowly a tree grows."""
        return type(self)(
            self.rows,
            max(self.tiles, _power_of_two(len(tiles.tiles))),
            max(self.partials, _power_of_two(len(tiles.partials))),
            max(self.slots, _power_of_two(len(tiles.slots))),
        )


T = TypeVar("T")


class _Columns(NamedTuple, Generic[T]):
    """Everything that a step brings along; the longest is last, so that its unused end need not be copied.

    Attributes:
        key: `[rows]` int64, of the draws.
        position: `[rows]` int64, of the draws.
        temperature: `[rows]` fp32, of the draws.
        token_ids: `[rows]` int64.
        places: `[rows]` int64, `Step.slots`.
        positions: `[rows]` int32.
        tails: `[rows]` int32.
        merges: `[rows + 1]` int32.
        tiles: `[tiles, 7]` int32.
        partials: `[partials]` int32.
        slots: `[slots]` int32.
    """

    key: T
    position: T
    temperature: T
    token_ids: T
    places: T
    positions: T
    tails: T
    merges: T
    tiles: T
    partials: T
    slots: T


_DTYPES = _Columns(
    key=torch.int64,
    position=torch.int64,
    temperature=torch.float32,
    token_ids=torch.int64,
    places=torch.int64,
    positions=torch.int32,
    tails=torch.int32,
    merges=torch.int32,
    tiles=torch.int32,
    partials=torch.int32,
    slots=torch.int32,
)


class StepBuffers:
    """The input of a step, at the same addresses for every step that fits: filled on the host, brought by one copy.

    Attributes:
        capacity: What fits.
        draw: Parameters of the draws on the device, padded; rows at temperature 0 draw nothing.
    """

    def __init__(self, capacity: Capacity, device: torch.device) -> None:
        """Reserve memory on `device`, and as much on the host, pinned where `device` is a GPU. All rows are padding."""
        self.capacity = capacity
        rows, tiles, partials, slots = capacity
        each = (rows,)
        tables = ((rows + 1,), (tiles, len(Tile._fields)), (partials,), (slots,))
        shapes = _Columns[tuple[int, ...]](each, each, each, each, each, each, each, *tables)
        starts = [0]
        for shape, dtype in zip(shapes, _DTYPES, strict=True):
            size = math.prod(shape) * dtype.itemsize
            starts.append(starts[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)
        self._end = starts[-2]
        self._there = torch.zeros(starts[-1], dtype=torch.uint8, device=device)
        self._here = torch.zeros(starts[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._copied = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._columns = _Columns[NDArray[Any]](*(view.numpy() for view in _views(self._here, starts, shapes)))
        self._on_device = _Columns[Tensor](*_views(self._there, starts, shapes))
        self._columns.places.fill(-1)
        self._there.copy_(self._here)
        self._rows = torch.arange(rows, device=device)
        self.draw = Draw(self._on_device.temperature, self._on_device.key, self._on_device.position)

    def step(self, tile_rows: int) -> Step:
        """The padded step on the device, whose tiles have at most `tile_rows` rows. All of its rows are wanted."""
        at = self._on_device
        tiles = Tiles(tile_rows, at.tails, at.tiles, at.slots, at.partials, at.merges)
        no_items = at.tiles[:0]
        return Step(at.token_ids, at.places, Plan(at.positions, no_items, no_items[:, 0], tiles), self._rows)

    def fill(self, step: Step, tiles: Tiles, draw: Draw | None) -> None:
        """Bring a step, whose tensors are on the host, to the device and pad it.

        A padded row is token 0 at position 0, written to slot -1, merged from nothing and drawn at temperature 0.
        Padded tiles have no tokens. What lies behind the used slots is not touched, as no tile leads there.

        Args:
            step: Has no more rows than fit.
            tiles: Its tiles, which fit.
            draw: One row for each of the step's, or None.
        """
        if self._copied is not None:
            self._copied.synchronize()  # the last copy may still be reading
        merges = tiles.merges.numpy()
        at = self._columns
        if draw is not None:
            _fill(at.key, draw.key.numpy(), 0)
            _fill(at.position, draw.position.numpy(), 0)
            _fill(at.temperature, draw.temperature.numpy(), 0)
        _fill(at.token_ids, step.token_ids.numpy(), 0)
        _fill(at.places, step.slots.numpy(), -1)
        _fill(at.positions, step.plan.positions.numpy(), 0)
        _fill(at.tails, tiles.tails.numpy(), 0)
        _fill(at.merges, merges, int(merges[-1]))
        _fill(at.tiles, tiles.tiles.numpy(), 0)
        _fill(at.partials, tiles.partials.numpy(), 0)
        at.slots[: len(tiles.slots)] = tiles.slots.numpy()
        end = self._end + tiles.slots.nbytes
        self._there[:end].copy_(self._here[:end], non_blocking=True)
        if self._copied is not None:
            self._copied.record()


def _fill(column: NDArray[Any], values: NDArray[Any], rest: int) -> None:
    column[: len(values)] = values
    column[len(values) :] = rest


def _views(memory: Tensor, starts: list[int], shapes: _Columns[tuple[int, ...]]) -> list[Tensor]:
    """The columns in `memory`."""
    return [
        memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
        for start, shape, dtype in zip(starts, shapes, _DTYPES, strict=False)
    ]


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
