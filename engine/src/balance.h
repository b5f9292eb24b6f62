// How large tiles should be, as engine/tile_balance.py has it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "prices.h"
#include "runs.h"
#include "sorting.h"
#include "tails.h"

namespace marcot {

// What tiles cost at most, when the last worker is done, what all tiles cost together, and how many tails share one.
struct Even {
    double most, end, total;
    int64_t together;
};

class Balance {
 public:
    Balance(const RunTable& runs, const Prices& prices, int64_t workers)
        : runs_(runs),
          prices_(prices),
          loads_(workers),
          token_(runs.count),
          blocks_(runs.count),
          merged_(runs.count),
          several_(runs.count),
          pieces_(runs.count) {
        for (int64_t i = 0; i < runs.count; ++i) {
            rows_ = std::max(rows_, runs.first_row[i] + runs.rows[i]);
            blocks_[i] = (double)prices.blocks(runs.rows[i]);
            token_[i] = runs.token_cost(i, prices);
            merged_[i] = prices.partial * runs.rows[i] / blocks_[i];
        }
    }

    // The first `twigs` runs are the tails; `most` is found where it is not given.
    Even even_cost(int64_t twigs, double most) {
        const Even apart = most > 0 ? even_at(most) : even_pieces();
        Even best = apart;
        Tails tails;
        int64_t before = 1;
        for (const auto& [part, whole] : kParts) {
            const int64_t together = prices_.block * part / whole;
            if (together <= 1 || together == before) continue;
            before = together;
            tails.share(runs_, twigs, prices_, together);
            if (tails.tiles.empty()) break;
            const Even even = even_at(apart.most, &tails, together);
            if (even.end <= apart.end && judged(even) < kSooner * judged(best)) best = even;
        }
        return best;
    }

 private:
    static constexpr int kSteps = 160, kHalvings = 16;
    static constexpr double kPart = 0.97, kLeastPart = 0.2, kEven = 1.04, kSooner = 0.99;
    static constexpr int64_t kParts[][2] = {{1, 1}, {2, 3}, {1, 2}, {1, 3}, {1, 4}};

    double judged(const Even& even) const { return even.end + even.total / loads_.size(); }

    // Every run in tiles of its own.
    Even even_pieces() {
        Even best = even_at(std::numeric_limits<double>::infinity());
        const double largest = std::bit_cast<double>(~sorter_.items[0].key), share = best.total / loads_.size();
        if (best.end <= kEven * share) return best;  // as no cut makes less of the work
        const double least = least_end();
        for (int step = 1; step < kSteps && best.end > kEven * least; ++step) {
            const double most = largest * std::pow(kPart, step);
            if (most <= least * kLeastPart) break;
            const Even even = even_at(most);
            if (even.end < kSooner * best.end) best = even;
        }
        return best;
    }

    Even even_at(double most, const Tails* tails = nullptr, int64_t together = 1) {
        for (int64_t i = 0; i < runs_.count; ++i) {
            const int64_t longest = runs_.longest_piece(i, most, prices_);
            pieces_[i] = (runs_.length[i] + longest - 1) / longest;
        }
        find_several();
        sorter_.items.clear();
        double total = 0;
        for (int64_t i = 0; i < runs_.count; ++i) {
            if (tails && tails->shares[i]) continue;
            const int64_t longest = runs_.longest_piece(i, most, prices_), before = pieces_[i] - 1;
            const double rest = prices_.tile + merged_[i] * several_[i];
            total += add(before * (int64_t)blocks_[i], longest * token_[i] + rest);
            total += add((int64_t)blocks_[i], (runs_.length[i] - before * longest) * token_[i] + rest);
        }
        if (tails) {
            for (const Tails::Shared& tile : tails->tiles) {
                const bool several =
                    std::any_of(&several_[tile.first], &several_[tile.first] + tile.rows, std::identity());
                total += add(1, Tails::cost(tile, prices_) + prices_.partial * tile.rows * several);
            }
        }
        sorter_.sort();
        return {most, last_end(), total, together};
    }

    double add(int64_t count, double cost) {
        sorter_.items.insert(sorter_.items.end(), count, {~std::bit_cast<uint64_t>(cost), 0});
        return count * cost;
    }

    // When all workers are done, if the longest tile that is left goes to whoever is free.
    double last_end() {
        std::fill(loads_.begin(), loads_.end(), 0.0);
        for (const Keyed& item : sorter_.items) {  // `loads_` is a heap, the least load in front
            const double load = loads_[0] + std::bit_cast<double>(~item.key);
            size_t at = 0;
            for (size_t below; (below = 2 * at + 1) < loads_.size(); at = below) {
                if (below + 1 < loads_.size() && loads_[below + 1] < loads_[below]) ++below;
                if (loads_[below] >= load) break;
                loads_[at] = loads_[below];
            }
            loads_[at] = load;
        }
        return *std::max_element(loads_.begin(), loads_.end());
    }

    // Whether some row of a run reads more than one piece.
    void find_several() {
        edges_.assign(rows_ + 1, 0);
        for (int64_t i = 0; i < runs_.count; ++i) {
            edges_[runs_.first_row[i]] += pieces_[i];
            edges_[runs_.first_row[i] + runs_.rows[i]] -= pieces_[i];
        }
        int64_t readings = 0, found = 0;
        for (int64_t& edge : edges_) {  // from here on: how many rows before read several pieces
            readings += edge;
            edge = found;
            found += readings > 1;
        }
        for (int64_t i = 0; i < runs_.count; ++i) {
            several_[i] = edges_[runs_.first_row[i] + runs_.rows[i]] > edges_[runs_.first_row[i]];
        }
    }

    // When the last worker ends at the earliest, however runs are cut.
    double least_end() {
        std::fill(pieces_.begin(), pieces_.end(), 1);
        find_several();
        double low = 0, high = 0;
        for (int64_t i = 0; i < runs_.count; ++i) {
            high += blocks_[i] * (token_[i] * runs_.length[i] + prices_.tile + merged_[i]);
        }
        for (int step = 0; step < kHalvings; ++step) {
            const double middle = (low + high) / 2;
            (is_enough(middle) ? high : low) = middle;
        }
        return high;
    }

    bool is_enough(double end) const {
        double sum = 0;
        for (int64_t i = 0; i < runs_.count; ++i) {
            const double piece = std::max((end - prices_.tile - merged_[i]) / token_[i], (double)kShortest);
            const double pieces = std::ceil(runs_.length[i] / piece);
            const double rest = prices_.tile + merged_[i] * (several_[i] || pieces > 1);
            if (std::min(runs_.length[i], kShortest) * token_[i] + rest > end) return false;
            sum += blocks_[i] * (token_[i] * runs_.length[i] + pieces * rest);
        }
        return sum <= loads_.size() * end;
    }

    const RunTable& runs_;
    const Prices& prices_;
    int64_t rows_ = 0;
    std::vector<double> loads_, token_, blocks_, merged_;
    std::vector<char> several_;
    std::vector<int64_t> pieces_, edges_;
    Sorter sorter_;
};

}  // namespace marcot
