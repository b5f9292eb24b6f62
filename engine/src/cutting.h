// From runs of tokens and their rows to the tiles of a plan, as engine/tile_cutting.py has it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "prices.h"
#include "runs.h"
#include "sorting.h"
#include "tails.h"

namespace marcot {

// A row of `Tiles.tiles`.
struct Tile {
    int32_t first, position, length, first_row, rows, partial, width;
};

class Cutting {
 public:
    std::vector<Tile> tiles;  // long ones first
    std::vector<int32_t> partials, merges;
    std::vector<int64_t> last;  // of each run, the tile that has its last token, for its last rows; -1 for tails
    Tails tails;

    // How to cut: into tiles that cost at most `most`, or of `chunk` tokens if that is not zero. Of the first `twigs`
    // runs at most `together` share a tile, their slots written out from `used` on. `merge_all` leaves every result to
    // be merged; `causal` says that tiles may have tokens behind all their rows, which are then left out.
    struct Rules {
        double most;
        int64_t twigs, together, used, chunk;
        bool merge_all, causal;
    };

    void cut(const RunTable& runs, const Prices& prices, const Rules& rules, const int64_t* positions, int64_t rows) {
        pieces_.clear();
        last.assign(runs.count, -1);
        tails.share(runs, rules.twigs, prices, rules.together);
        by_position(runs, rules.used);
        for (const Keyed& item : sorter_.items) {
            if (item.index >= runs.count) {
                pieces_.push_back(shared_[item.index - runs.count]);
                continue;
            }
            const int run = item.index;
            const int64_t longest = rules.chunk ? rules.chunk : runs.longest_piece(run, rules.most, prices);
            for (int64_t at = 0; at < runs.length[run]; at += longest) {
                const int32_t length = (int32_t)std::min(longest, runs.length[run] - at);
                for (int64_t row = 0; row < runs.rows[run]; row += prices.block) {
                    pieces_.push_back({(int32_t)(runs.first[run] + at), (int32_t)(runs.position[run] + at), length,
                                       (int32_t)(runs.first_row[run] + row),
                                       (int32_t)std::min(prices.block, runs.rows[run] - row), -1, 0});
                }
            }
            last[run] = (int64_t)pieces_.size() - 1;
        }
        if (rules.causal) leave_out(positions);
        number(rows, rules.merge_all ? 0 : 1);
        long_ones_first();
    }

 private:
    // Sort the runs that have tiles of their own, and behind them the tiles of tails, which go into `shared_`.
    void by_position(const RunTable& runs, int64_t used) {
        sorter_.items.clear();
        for (int64_t i = 0; i < runs.count; ++i) {
            if (!tails.shares[i]) sorter_.items.push_back({(uint64_t)runs.position[i], (int)i});
        }
        shared_.clear();
        for (const Tails::Shared& tile : tails.tiles) {
            const int64_t* positions = runs.position + tile.first;
            const int64_t start = *std::max_element(positions, positions + tile.rows), places = tile.rows * tile.width;
            sorter_.items.push_back({(uint64_t)start, (int)(runs.count + shared_.size())});
            shared_.push_back({(int32_t)used, (int32_t)start, (int32_t)places, (int32_t)runs.first_row[tile.first],
                               (int32_t)tile.rows, -1, (int32_t)tile.width});
            used += places;
        }
        sorter_.sort();
    }

    // Leave tokens behind all rows of a tile out.
    void leave_out(const int64_t* positions) {
        place_.clear();
        size_t kept = 0;
        for (Tile& tile : pieces_) {
            int64_t end = tile.width ? tile.position + tile.length : 0;
            for (int32_t i = 0; i < tile.rows; ++i) end = std::max(end, positions[tile.first_row + i] + 1);
            tile.length = (int32_t)std::min<int64_t>(tile.length, end - tile.position);
            if (tile.length > 0) pieces_[kept++] = tile;
            place_.push_back((int64_t)kept - 1);
        }
        pieces_.resize(kept);
        for (int64_t& tile : last) tile = tile < 0 ? tile : place_[tile];
    }

    // Number the partial results: those of tiles of which a row reads more than `most`.
    void number(int64_t rows, int64_t most) {
        readings_.assign(rows + 1, 0);
        for (const Tile& tile : pieces_) {
            ++readings_[tile.first_row];
            --readings_[tile.first_row + tile.rows];
        }
        several_.assign(rows + 1, 0);
        int64_t readings = 0;
        for (int64_t row = 0; row < rows; ++row) {
            readings += readings_[row];
            several_[row + 1] = several_[row] + (readings > most);
        }
        int32_t count = 0;
        merges.assign(rows + 1, 0);
        for (Tile& tile : pieces_) {
            if (several_[tile.first_row + tile.rows] == several_[tile.first_row]) continue;
            tile.partial = count;
            count += tile.rows;
            for (int32_t i = 0; i < tile.rows; ++i) ++merges[tile.first_row + i + 1];
        }
        for (int64_t row = 0; row < rows; ++row) merges[row + 1] += merges[row];
        partials.resize(count);
        std::vector<int32_t>& next = next_;
        next.assign(merges.begin(), merges.end());
        for (const Tile& tile : pieces_) {
            if (tile.partial < 0) continue;
            for (int32_t i = 0; i < tile.rows; ++i) partials[next[tile.first_row + i]++] = tile.partial + i;
        }
    }

    void long_ones_first() {
        sorter_.items.resize(pieces_.size());
        for (size_t i = 0; i < pieces_.size(); ++i)
            sorter_.items[i] = {UINT32_MAX - (uint64_t)pieces_[i].length, (int)i};
        sorter_.sort();
        tiles.resize(pieces_.size());
        place_.resize(pieces_.size());
        for (size_t i = 0; i < tiles.size(); ++i) {
            tiles[i] = pieces_[sorter_.items[i].index];
            place_[sorter_.items[i].index] = (int64_t)i;
        }
        for (int64_t& tile : last) tile = tile < 0 ? tile : place_[tile];
    }

    Sorter sorter_;
    std::vector<Tile> pieces_, shared_;
    std::vector<int64_t> place_, readings_, several_;
    std::vector<int32_t> next_;
};

}  // namespace marcot
