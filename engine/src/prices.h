// The prices of engine/tile_cost.py.
#pragma once

#include <cstdint>

namespace marcot {

// A byte from the L2 cache, in bytes from memory.
constexpr double kL2Share = 0.5;

struct Prices {
    double token, partial, tile, product;
    int64_t block;

    int64_t blocks(int64_t rows) const { return (uint32_t)(rows + block - 1) / (uint32_t)block; }
    double first(int64_t tokens) const { return token * tokens * (1 - kL2Share); }
    double again(int64_t tokens) const { return token * tokens * kL2Share + tile; }
};

}  // namespace marcot
