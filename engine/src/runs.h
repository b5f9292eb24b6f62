// Consecutive tokens of paths, with the rows that read them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "prices.h"

namespace marcot {

// Tokens of the shortest piece that a run is cut into, and what pieces are a multiple of: see engine/tile_balance.py.
constexpr int64_t kShortest = 32, kGrain = 16;

// The columns of `Runs`.
struct RunTable {
    RunTable(const int64_t* columns, int64_t count)
        : count(count),
          first(columns),
          position(first + count),
          length(position + count),
          first_row(length + count),
          rows(first_row + count) {}

    int64_t count;
    const int64_t *first, *position, *length, *first_row, *rows;

    // What a token costs each of the tiles that read it for other rows: its share of the bytes, or products if that is
    // more.
    double token_cost(int64_t run, const Prices& prices) const {
        const int64_t blocks = prices.blocks(rows[run]);
        return std::max((1 + (blocks - 1) * kL2Share) / blocks * prices.token, prices.product);
    }

    // Tokens of the longest pieces that cost at most `most`, or else of the shortest allowed.
    int64_t longest_piece(int64_t run, double most, const Prices& prices) const {
        if (std::isinf(most)) return length[run];
        const double rest = prices.tile + prices.partial * std::min(rows[run], prices.block);
        const double grains = (most - rest) / (token_cost(run, prices) * kGrain);
        return std::max((int64_t)grains * kGrain, kShortest);
    }
};

}  // namespace marcot
