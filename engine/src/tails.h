// Which tails share a tile, and where their slots are written out, as engine/tile_tails.py has it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runs.h"

namespace marcot {

// Tokens that a tail may grow by at least, and its places at least and at most.
constexpr int64_t kTailRoom = 8, kNarrowest = 16, kWidest = 128;

class Tails {
 public:
    // A tile of `rows` runs from `first` on, of `tokens` tokens together, with `width` places for each.
    struct Shared {
        int64_t first, rows, width, tokens;
    };

    std::vector<Shared> tiles;
    std::vector<char> shares;  // of each run, whether it has no tile of its own

    // Put at most `most` tails of neighbouring rows into a tile, as long as each makes it cheaper.
    void share(const RunTable& runs, int64_t twigs, const Prices& prices, int64_t most) {
        tiles.clear();
        shares.assign(runs.count, 0);
        const double each = std::max(prices.token, prices.product);
        Shared open{};
        double open_price = 0;
        int64_t at = -1;
        for (int64_t i = 0; i < twigs; ++i) {
            const int64_t length = runs.length[i], row = runs.first_row[i], own = width_of(length);
            if (own > kWidest) {
                open.rows = 0;
                continue;
            }
            const double alone = each * length + prices.tile;
            if (open.rows && open.rows < most && row == at + 1) {
                const Shared both{open.first, open.rows + 1, std::max(open.width, own), open.tokens + length};
                const double price = cost(both, prices);
                if (price < open_price + alone) {
                    if (open.rows == 1) {
                        tiles.push_back(both);
                        shares[i - 1] = 1;
                    }
                    shares[i] = 1;
                    tiles.back() = open = both;
                    open_price = price;
                    at = row;
                    continue;
                }
            }
            open = {i, 1, own, length};
            open_price = alone;
            at = row;
        }
    }

    // What a tile costs besides partial results.
    static double cost(const Shared& tile, const Prices& prices) {
        const double products = prices.product * (tile.rows * tile.width);
        return std::max(prices.token * tile.tokens, products) + prices.tile;
    }

    // Places of all tiles.
    int64_t places() const {
        int64_t places = 0;
        for (const Shared& tile : tiles) places += tile.rows * tile.width;
        return places;
    }

    // Write the slots out from `begin` on, and where each tail starts. `places` gets where the last token of each run
    // is, or -1; returns how many tokens each tail may grow by.
    int64_t write(const RunTable& runs, int32_t* slots, int64_t begin, int32_t* starts, int64_t* places) const {
        std::fill(places, places + runs.count, -1);
        int64_t room = kWidest;
        for (const Shared& tile : tiles) {
            for (int64_t run = tile.first; run < tile.first + tile.rows; ++run, begin += tile.width) {
                const int64_t length = runs.length[run];
                const int32_t* own = slots + runs.first[run];
                std::copy(own, own + length, slots + begin);
                std::fill(slots + begin + length, slots + begin + tile.width, own[length - 1]);
                places[run] = begin + length - 1;
                starts[runs.first_row[run]] = (int32_t)runs.position[run];
                room = std::min(room, tile.width - length);
            }
        }
        return room;
    }

 private:
    static int64_t width_of(int64_t length) {
        int64_t width = kNarrowest;
        while (width < length + kTailRoom) width *= 2;
        return width;
    }
};

}  // namespace marcot
