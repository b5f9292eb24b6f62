"""What the tiles of an attention plan cost, in bytes of memory traffic of one KV head."""

from __future__ import annotations

from typing import NamedTuple

L2_SHARE = 0.5
"""A byte from the L2 cache, in bytes from memory: an H100 reads 3.35 TB/s from memory and about twice as much from L2,
an A100 2.0 and about 4. It counts for the tiles that take the same tokens for further rows, which run side by side
with the first one, and for partial results, which are written and read again within microseconds."""

TILE_BYTES = 8192.0
"""What a tile costs besides its tokens. It waits for its description, then for slots, then for keys: about 1.3 us, of
which the other thread block of its processor hides half. In 0.65 us one of the 264 resident blocks of an H100 would
have read this much. Derived, not measured."""


RIDGE = 128
"""(Row, head) pairs of a tile at which its products take as long as reading its tokens from memory: an H100 has 990
TFLOP/s for 3.35 TB/s and an A100 312 for 2.0, in 16-bit values; attention gets less of the former than of the
latter."""


class TileCost(NamedTuple):
    """The prices.

    Attributes:
        token: K and V of one token.
        partial: A partial result of one row, written and read.
        tile: A tile, whatever is in it.
        product: Multiplying a token with all rows of a tile, which happens while others are read.
        block: Most rows of a tile.
    """

    token: float
    partial: float
    tile: float
    product: float
    block: int

    def blocks(self, rows: int) -> int:
        """Tiles that `rows` rows take."""
        return -(-rows // self.block)

    def first(self, tokens: int) -> float:
        """What the first tile of `tokens` tokens costs beyond `again`."""
        return self.token * tokens * (1 - L2_SHARE)

    def again(self, tokens: int) -> float:
        """What every tile of the same `tokens` tokens costs, for another block of rows each."""
        return self.token * tokens * L2_SHARE + self.tile

    def read(self, tokens: int, rows: int, *, partial: bool) -> float:
        """`tokens` tokens read by `rows` rows.

        Args:
            tokens: Tokens of each tile.
            rows: At least one.
            partial: Whether the rows read other tiles as well, so that partial results must be merged.
        """
        return self.first(tokens) + self.again(tokens) * self.blocks(rows) + self.partial * rows * partial


def tile_cost(group: int, head_dim: int, value_bytes: int, block: int) -> TileCost:
    """The prices of a model.

    Args:
        group: Query heads per KV head.
        head_dim: Width of a head.
        value_bytes: Of a value in the cache.
        block: Most rows of a tile.
    """
    partial = (head_dim + 2) * 4 * group * 2 * L2_SHARE
    token = 2.0 * head_dim * value_bytes
    return TileCost(token, partial, TILE_BYTES, token * block * group / RIDGE, block)
