"""Memory at fixed addresses for the input and the results of recorded rounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Self, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels import MAX_TOP_K, Draw, Plan, RoundState, SampleParams, Tile, Tiles
from ..decoder import StepInput
from .drawn_tokens import DrawnTokens
from .round import ROUND_ENDS, ROUND_TOKENS, Drawn, Round

_ALIGNMENT = 256
"""Columns begin at multiples of this many bytes, like CUDA's own allocations, so kernels may load vectors of any
width."""

_LEAST = 16
"""Minimum capacity of a table."""

_TILES_PER_ROW, _PARTIALS_PER_ROW, _SLOTS_PER_ROW = 2, 4, 64
"""Initial capacity of tables, per row: enough for branches of a few dozen tokens after a common prefix."""


class Capacity(NamedTuple):
    """The largest round that fits.

    Attributes:
        rows: Query rows; padded ones write nothing and read nothing.
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
        """The initial capacity of a bucket with `rows` rows."""
        per_row = (_TILES_PER_ROW, _PARTIALS_PER_ROW, _SLOTS_PER_ROW)
        return cls(rows, *(max(_LEAST, _power_of_two(rows * each)) for each in per_row))

    def grown(self, tiles: Tiles) -> Self:
        """A capacity that also fits `tiles`, rounded up to powers of two, so that a growing tree seldom needs more."""
        return type(self)(
            self.rows,
            max(self.tiles, _power_of_two(len(tiles.tiles))),
            max(self.partials, _power_of_two(len(tiles.partials))),
            max(self.slots, _power_of_two(len(tiles.slots))),
        )


T = TypeVar("T")


class _Columns(NamedTuple, Generic[T]):
    """All columns of the memory, in order.

    The results come first, so that one copy fetches them together with the state after them. The very first columns are
    those whose size depends on the number of candidates; with fewer candidates, the results simply start later. The
    state (`drawn`, `ended`, `settled`) is part of both copies, because the host resets it and reads it. The longest
    table is last, so that its unused end need not be copied.

    Attributes:
        top_logits: `[T, rows, k]` fp32, `RoundState.top_logits`, and so on.
        top_ids: `[T, rows, k]` int32.
        lse: `[T, rows]` fp32.
        drawn_logits: `[T, rows]` fp32.
        drawn_ids: `[T, rows]` int32.
        drawn: `[rows]` int32, `RoundState.drawn`.
        ended: `[rows]` uint8.
        settled: `[rows]` uint8.
        key: `[rows]` int64, `SampleParams.key`.
        position: `[rows]` int64, of `SampleParams` and of the draws.
        token_ids: `[rows]` int64.
        places: `[rows]` int64, `StepInput.slots`.
        next_places: `[rows, T]` int64.
        ends: `[rows, ROUND_ENDS]` int64.
        top_p: `[rows]` fp64.
        temperature: `[rows]` fp32.
        draw_temperature: `[rows]` fp32.
        min_p: `[rows]` fp32.
        top_k: `[rows]` int32.
        width: `[rows]` int32.
        limit: `[rows]` int32.
        positions: `[rows]` int32, `Plan.positions`.
        tails: `[rows]` int32.
        merges: `[rows + 1]` int32.
        tiles: `[tiles, 7]` int32.
        partials: `[partials]` int32.
        slots: `[slots]` int32.
    """

    top_logits: T
    top_ids: T
    lse: T
    drawn_logits: T
    drawn_ids: T
    drawn: T
    ended: T
    settled: T
    key: T
    position: T
    token_ids: T
    places: T
    next_places: T
    ends: T
    top_p: T
    temperature: T
    draw_temperature: T
    min_p: T
    top_k: T
    width: T
    limit: T
    positions: T
    tails: T
    merges: T
    tiles: T
    partials: T
    slots: T


_LONG, _INT, _FLOAT = torch.int64, torch.int32, torch.float32
_DTYPES = _Columns(
    top_logits=_FLOAT, top_ids=_INT, lse=_FLOAT, drawn_logits=_FLOAT, drawn_ids=_INT,
    drawn=_INT, ended=torch.uint8, settled=torch.uint8, key=_LONG, position=_LONG, token_ids=_LONG, places=_LONG,
    next_places=_LONG, ends=_LONG,
    top_p=torch.float64, temperature=_FLOAT, draw_temperature=_FLOAT, min_p=_FLOAT, top_k=_INT, width=_INT, limit=_INT,
    positions=_INT, tails=_INT, merges=_INT, tiles=_INT, partials=_INT,
    slots=_INT,
)  # fmt: skip


def _shapes(capacity: Capacity, candidates: int) -> _Columns[tuple[int, ...]]:
    rows, tiles, partials, slots = capacity
    each, drawn = (rows,), (ROUND_TOKENS, rows)
    top = (*drawn, candidates)
    return _Columns(
        top_logits=top, top_ids=top, lse=drawn, drawn_logits=drawn, drawn_ids=drawn,
        drawn=each, ended=each, settled=each, key=each, position=each, token_ids=each, places=each,
        next_places=(rows, ROUND_TOKENS), ends=(rows, ROUND_ENDS),
        top_p=each, temperature=each, draw_temperature=each, min_p=each, top_k=each, width=each, limit=each,
        positions=each, tails=each, merges=(rows + 1,), tiles=(tiles, len(Tile._fields)), partials=(partials,),
        slots=(slots,),
    )  # fmt: skip


class RoundBuffers:
    """The input and the results of a round, at the same addresses for every round that fits.

    The input is copied to the device in one call, and the results to the host in another.

    Attributes:
        capacity: The largest round that fits.
        params: Sampling parameters of the rows.
        draw: Parameters of the draws over the whole vocabulary; rows at temperature 0 draw nothing.
    """

    def __init__(self, capacity: Capacity, device: torch.device) -> None:
        """Reserve memory on `device` and on the host (pinned if `device` is a GPU). All rows are padding at first."""
        self.capacity = capacity
        shapes = _shapes(capacity, MAX_TOP_K)
        starts = [0]
        for shape, dtype in zip(shapes, _DTYPES, strict=True):
            starts.append(starts[-1] + _bytes(shape, dtype))
        names = _Columns._fields
        self._top, self._begin, self._state_end, self._end = (
            starts[names.index(name)] for name in ("lse", "drawn", "key", "slots")
        )
        on_gpu = device.type == "cuda"
        self._there = torch.zeros(starts[-1], dtype=torch.uint8, device=device)
        self._here = torch.zeros(starts[-1], dtype=torch.uint8, pin_memory=on_gpu)
        self._came = torch.zeros(self._state_end, dtype=torch.uint8, pin_memory=on_gpu)
        self._copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        self._columns = _Columns[NDArray[Any]](*(view.numpy() for view in _views(self._here, starts, shapes)))
        self._on_device = at = _Columns[Tensor](*_views(self._there, starts, shapes))
        self._results = [view.numpy() for view in _views(self._came, starts, shapes)][: names.index("settled")]
        self._rows = torch.arange(capacity.rows, device=device)
        self.params = SampleParams(at.temperature, at.top_k, at.top_p, at.min_p, at.width, at.key, at.position)
        self.draw = Draw(at.draw_temperature, at.key, at.position)
        self.pad()

    def step(self, tile_rows: int) -> StepInput:
        """The padded step on the device, with at most `tile_rows` rows per tile. All of its rows are outputs."""
        at = self._on_device
        tiles = Tiles(tile_rows, at.tails, at.tiles, at.slots, at.partials, at.merges)
        no_items = at.tiles[:0]
        return StepInput(at.token_ids, at.places, Plan(at.positions, no_items, no_items[:, 0], tiles), self._rows)

    def state(self, candidates: int) -> RoundState:
        """The state on the device, with results for this many candidates."""
        at = self._on_device
        top_logits, top_ids = self._candidates(self._there, candidates)
        return RoundState(
            *(at.token_ids, at.positions, at.places, at.position, at.next_places, at.ends, at.limit),
            *(at.drawn, at.ended, at.settled, at.drawn_ids, at.drawn_logits, at.lse, top_ids, top_logits),
        )

    def pad(self) -> None:
        """Turn all rows into padding, so that a run writes nothing."""
        self._pad_from(0)
        for table in (self._columns.merges, self._columns.tiles):
            table.fill(0)
        self._bring(self._end)

    def fill(self, round: Round, tiles: Tiles) -> None:
        """Copy a round from the host to the device and pad it.

        A padding row has ended: it has token 0 at position 0 and slot -1, and no partial results. Padding tiles have no
        tokens. The unused end of the table of slots is not cleared, because no tile reads it.

        Args:
            round: A round that fits, with its tensors on the host.
            tiles: Its tiles, which fit.
        """
        step, at, merges = round.step, self._columns, tiles.merges.numpy()
        rows = len(step.token_ids)
        self._pad_from(rows)  # waits, so it comes before all other writes
        at.drawn[:rows] = 0
        at.ended[:rows] = round.limit.numpy() == 0
        for name, column in round.params._asdict().items():
            getattr(at, name)[:rows] = column.numpy()
        at.draw_temperature[:rows] = 0 if round.draw_temperature is None else round.draw_temperature.numpy()
        at.token_ids[:rows] = step.token_ids.numpy()
        at.places[:rows] = step.slots.numpy()
        at.next_places[:rows, : round.tokens] = round.next_places.numpy()
        at.ends[:rows] = round.ends.numpy()
        at.limit[:rows] = round.limit.numpy()
        at.positions[:rows] = step.plan.positions.numpy()
        at.tails[:rows] = tiles.tails.numpy()
        _fill(at.merges, merges, int(merges[-1]))
        _fill(at.tiles, tiles.tiles.numpy(), 0)
        _fill(at.partials, tiles.partials.numpy(), 0)
        at.slots[: len(tiles.slots)] = tiles.slots.numpy()
        self._bring(self._end + tiles.slots.nbytes)

    def fetch(self, candidates: int, tokens: int, rows: int, hidden: Tensor) -> Callable[[], Drawn]:
        """Start copying the results of the first `rows` rows to the host, after the run.

        Args:
            candidates: As in `state`.
            tokens: Maximum tokens of each row.
            rows: Rows that are not padding.
            hidden: `[bucket, hidden]`, the run's result.

        Returns:
            A function that waits for the results. Call it before the next `fill`, or not at all.
        """
        begin = self._top - sum(_bytes(shape, dtype) for shape, dtype in self._top_shapes(candidates))
        self._came[begin:].copy_(self._there[begin : self._state_end], non_blocking=True)
        if self._copied is not None:
            self._copied.record()

        def results() -> Drawn:
            if self._copied is not None:
                self._copied.synchronize()
            *_, lse, logits, ids, drawn, ended = self._results
            top_logits, top_ids = (view.numpy() for view in self._candidates(self._came, candidates))
            of_tokens = (ids, logits, lse, top_ids, top_logits)
            by_row = DrawnTokens.of(*(column[:tokens, :rows].swapaxes(0, 1) for column in of_tokens))
            return Drawn(hidden[:rows], drawn[:rows].copy(), ended[:rows] == 0, by_row)

        return results

    def _top_shapes(self, candidates: int) -> list[tuple[tuple[int, ...], torch.dtype]]:
        return list(zip(_shapes(self.capacity, candidates)[:2], _DTYPES[:2], strict=True))

    def _candidates(self, memory: Tensor, candidates: int) -> list[Tensor]:
        """`RoundState.top_logits` and `top_ids` in `memory`, placed right before the results of fixed size."""
        views, end = [], self._top
        for shape, dtype in reversed(self._top_shapes(candidates)):
            begin = end - _bytes(shape, dtype)
            views.append(memory[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).view(shape))
            end = begin
        return views[::-1]

    def _pad_from(self, row: int) -> None:
        """Turn all rows from `row` on into padding, as soon as the previous copy has read them."""
        if self._copied is not None:
            self._copied.synchronize()
        at = self._columns
        for column in (at.drawn, at.limit, at.token_ids, at.positions, at.tails, at.draw_temperature, at.temperature):
            column[row:] = 0
        at.ended[row:] = 1
        at.places[row:] = -1

    def _bring(self, end: int) -> None:
        """Copy the state and the input to the device, up to byte `end`."""
        self._there[self._begin : end].copy_(self._here[self._begin : end], non_blocking=True)
        if self._copied is not None:
            self._copied.record()


def _fill(column: NDArray[Any], values: NDArray[Any], rest: int) -> None:
    column[: len(values)] = values
    column[len(values) :] = rest


def _bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Bytes of a column, including the gap after it."""
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT


def _views(memory: Tensor, starts: list[int], shapes: _Columns[tuple[int, ...]]) -> list[Tensor]:
    """The columns that are inside `memory`."""
    return [
        memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
        for start, shape, dtype in zip(starts, shapes, _DTYPES, strict=False)
        if start < len(memory)
    ]


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
