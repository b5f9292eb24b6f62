// How large tiles should be, as engine/tile_balance.py has it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "prices.h"

namespace marcot {

class Balance {
 public:
    // `runs` is `[5][count]`, the columns of `Runs`.
    Balance(const int64_t* runs, int64_t count, const Prices& prices, int64_t workers)
        : length_(runs + 2 * count),
          first_row_(runs + 3 * count),
          rows_(runs + 4 * count),
          count_(count),
          prices_(prices),
          loads_(workers),
          token_(count),
          blocks_(count),
          merged_(count),
          several_(count) {
        for (int64_t i = 0; i < count; ++i) {
            edge_ = std::max(edge_, first_row_[i] + rows_[i]);
            blocks_[i] = prices.blocks(rows_[i]);
            token_[i] = std::max((1 + (blocks_[i] - 1) * kL2Share) / blocks_[i] * prices.token, prices.product);
            merged_[i] = prices.partial * rows_[i] / blocks_[i];
        }
    }

    // The most that a tile should cost, and when the last worker is done.
    std::pair<double, double> even_cost() {
        double best = std::numeric_limits<double>::infinity(), best_end = end_of(best);
        const double largest = *std::max_element(costs_.begin(), costs_.end()), least = least_end();
        for (int step = 1; step < kSteps && best_end > kEven * least; ++step) {
            const double most = largest * std::pow(kPart, step);
            if (most <= least * kLeastPart) break;
            const double end = end_of(most);
            if (end < kSooner * best_end) {
                best = most;
                best_end = end;
            }
        }
        return {best, best_end};
    }

    // What all tiles cost, if none costs more than `most`.
    double sum(double most) {
        cut(most);
        return std::accumulate(costs_.begin(), costs_.end(), 0.0);
    }

 private:
    static constexpr int kSteps = 160, kHalvings = 16, kShortest = 32, kGrain = 16;
    static constexpr double kPart = 0.97, kLeastPart = 0.2, kEven = 1.04, kSooner = 0.99;

    int64_t longest(int64_t i, double most) const {
        if (std::isinf(most)) return length_[i];
        const double rest = prices_.tile + prices_.partial * std::min(rows_[i], prices_.block);
        return std::max<int64_t>((int64_t)((most - rest) / (token_[i] * kGrain)) * kGrain, kShortest);
    }

    void cut(double most) {
        pieces_.resize(count_);
        for (int64_t i = 0; i < count_; ++i) {
            const int64_t longest_piece = longest(i, most);
            pieces_[i] = (length_[i] + longest_piece - 1) / longest_piece;
        }
        find_several();
        costs_.clear();
        for (int64_t i = 0; i < count_; ++i) {
            const int64_t whole = longest(i, most), before = pieces_[i] - 1;
            const double rest = prices_.tile + merged_[i] * several_[i];
            costs_.insert(costs_.end(), before * blocks_[i], whole * token_[i] + rest);
            costs_.insert(costs_.end(), blocks_[i], (length_[i] - before * whole) * token_[i] + rest);
        }
    }

    double end_of(double most) {
        cut(most);
        std::sort(costs_.begin(), costs_.end(), std::greater<>());
        std::fill(loads_.begin(), loads_.end(), 0.0);
        for (const double cost : costs_) {  // `loads_` is a heap, the least load in front
            double load = loads_[0] + cost;
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
        edges_.assign(edge_ + 1, 0);
        for (int64_t i = 0; i < count_; ++i) {
            edges_[first_row_[i]] += pieces_[i];
            edges_[first_row_[i] + rows_[i]] -= pieces_[i];
        }
        int64_t readings = 0, found = 0;
        for (int64_t& edge : edges_) {  // from here on: how many rows before read several pieces
            readings += edge;
            edge = found;
            found += readings > 1;
        }
        for (int64_t i = 0; i < count_; ++i) {
            several_[i] = edges_[first_row_[i] + rows_[i]] > edges_[first_row_[i]];
        }
    }

    double least_end() {
        pieces_.assign(count_, 1);
        find_several();
        double low = 0, high = 0;
        for (int64_t i = 0; i < count_; ++i) {
            high += blocks_[i] * (token_[i] * length_[i] + prices_.tile + merged_[i]);
        }
        for (int step = 0; step < kHalvings; ++step) {
            const double middle = (low + high) / 2;
            (is_enough(middle) ? high : low) = middle;
        }
        return high;
    }

    bool is_enough(double end) const {
        double sum = 0;
        for (int64_t i = 0; i < count_; ++i) {
            const double piece = std::max((end - prices_.tile - merged_[i]) / token_[i], (double)kShortest);
            const double pieces = std::ceil(length_[i] / piece);
            const double rest = prices_.tile + merged_[i] * (several_[i] || pieces > 1);
            if (std::min<int64_t>(length_[i], kShortest) * token_[i] + rest > end) return false;
            sum += blocks_[i] * (token_[i] * length_[i] + pieces * rest);
        }
        return sum <= loads_.size() * end;
    }

    const int64_t *length_, *first_row_, *rows_;
    const int64_t count_;
    const Prices& prices_;
    int64_t edge_ = 0;
    std::vector<double> loads_, token_, costs_;
    std::vector<int64_t> blocks_;
    std::vector<double> merged_;
    std::vector<char> several_;
    std::vector<int64_t> pieces_, edges_;
};

}  // namespace marcot
