// Who reads what together at the least cost: the programme of engine/tile_merging.py, which explains it.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "prices.h"
#include "stem_tree.h"

namespace marcot {

class Merging {
 public:
    Merging(StemTree& tree, const Prices& prices) : stems_(tree.stems), prices_(prices), root_(tree.root) {}

    // Fill in the choices of all stems that miss any; returns the least cost.
    double solve() {
        pending_.assign(1, {root_, 0});
        while (!pending_.empty()) {
            const State state = pending_.back();
            if (!stems_[state.stem].choice(state.carried)) {
                const size_t before = pending_.size();
                find_missing(state);
                if (pending_.size() > before) continue;
                choose(state);
            }
            pending_.pop_back();
        }
        return stems_[root_].choice(0)->cost;
    }

 private:
    struct State {
        int stem;
        int64_t carried;
    };

    // A stem that may join a tile.
    struct Item {
        double gain;
        int64_t rows;
        int stem;
    };

    // Gain and rows of some items: the last one, and the packing without it.
    struct Packing {
        double gain;
        int64_t rows;
        int item, rest;
    };

    static constexpr double kInfinite = std::numeric_limits<double>::infinity();
    static constexpr size_t kFew = 6;

    // Push what must be known before `state`, and enter what can be entered at once.
    void find_missing(const State& state) {
        const Stem& stem = stems_[state.stem];
        const int64_t tokens = state.carried + stem.length();
        const double partial = prices_.partial * (state.carried == stem.start ? 2 : 1);
        const int64_t branches = stem.twigs.count + stem.stems.count;
        double saved = prices_.first(tokens);
        const bool certain = stem.own_rows > 0 ||
                             saved * (branches - 1) >= prices_.tile * prices_.blocks(stem.rows) + partial * stem.rows;
        saved -= stem.own_rows * (partial - prices_.partial);
        for (int index = stem.stems.first; index != kNone; index = stems_[index].after) {
            const Stem& upper = stems_[index];
            const bool joins = certain && saved >= prices_.tile * prices_.blocks(upper.rows) + partial * upper.rows;
            require({index, 0});
            if (!joins) require({index, tokens});
        }
    }

    void require(const State& state) {
        const Stem& stem = stems_[state.stem];
        if (stem.choice(state.carried)) return;
        if (stem.stems.count) {
            pending_.push_back(state);
        } else {
            choose(state);
        }
    }

    void choose(const State& state) {
        Stem& stem = stems_[state.stem];
        const int64_t ends = stem.own_rows, twigs = stem.twigs.count, tokens = state.carried + stem.length();
        Choice choice{state.carried, 0, 0, (int)stem.joined.size(), 0};
        if (!tokens) {
            for (int index = stem.stems.first; index != kNone; index = stems_[index].after) {
                choice.cost += stems_[index].choice(0)->cost;
            }
            choice.cost += twigs * prices_.tile;
            stem.choices.push_back(choice);
            return;
        }
        const bool alone = state.carried == stem.start;
        const double along = prices_.token * tokens, again = prices_.again(tokens);
        double total = twigs * (along + prices_.tile + (alone ? 0 : prices_.partial)), gained = 0;
        int64_t rows = ends;
        bool certain = false;
        items_.clear();
        for (int index = stem.stems.first; index != kNone; index = stems_[index].after) {
            const Stem& upper = stems_[index];
            const double with_tile = upper.choice(0)->cost + prices_.partial * upper.rows;
            const Choice* taking_along = upper.choice(tokens);
            const double apart = taking_along ? taking_along->cost : with_tile;
            total += apart;
            if (!taking_along) {
                certain = true;
            } else if (apart - with_tile < again * prices_.blocks(upper.rows)) {
                if (apart > with_tile) items_.push_back({apart - with_tile, upper.rows, index});
                continue;
            }
            gained += apart - with_tile;
            rows += upper.rows;
            stem.joined.push_back(index);
        }
        const double gain = along - (alone ? 2 : 1) * prices_.partial;
        choice.twigs = (int)pack(gain, gain > 0 ? twigs : 0, rows, again);
        gained += gain * choice.twigs;
        rows += choice.twigs;
        for (const int i : taken_) {
            gained += items_[i].gain;
            rows += items_[i].rows;
            stem.joined.push_back(items_[i].stem);
        }
        const double opened =
            total - gained + prices_.first(tokens) + again * prices_.blocks(rows) + prices_.partial * ends;
        double closed = total;
        if (ends) {
            closed += prices_.first(tokens) + again * prices_.blocks(ends) + (alone ? 0 : prices_.partial * ends);
        }
        choice.cost = opened;
        if (rows <= ends || !(certain || opened < closed)) {
            choice.cost = closed;
            choice.twigs = 0;
            stem.joined.resize(choice.first);
        }
        choice.count = (int)stem.joined.size() - choice.first;
        stem.choices.push_back(choice);
    }

    // Which of `items_` join a tile that has `rows` rows without them (into `taken_`), and how many of `twigs`: the
    // most gain, less `again` for every block of rows.
    int64_t pack(double gain, int64_t twigs, int64_t rows, double again) {
        taken_.clear();
        if (items_.empty()) return twigs ? equal_rows(gain, twigs, rows, again) : 0;
        int64_t offered = 0;
        for (const Item& item : items_) offered += item.rows;
        if (offered + twigs <= free_rows(rows)) {
            for (size_t i = 0; i < items_.size(); ++i) taken_.push_back((int)i);
            return twigs;
        }
        packings_.assign(1, {0, 0, kNone, kNone});
        if (items_.size() <= kFew) {
            all_subsets();
        } else {
            best_of_each_size();
        }
        double best = -kInfinite;
        int most = 0;
        int64_t joined = 0;
        for (const int at : candidates_) {
            const int64_t filled = rows + packings_[at].rows;
            const int64_t joining = twigs ? equal_rows(gain, twigs, filled, again) : 0;
            const double value = packings_[at].gain + gain * joining - again * prices_.blocks(filled + joining);
            if (value > best) {
                best = value;
                most = at;
                joined = joining;
            }
        }
        for (int at = most; packings_[at].item != kNone; at = packings_[at].rest) taken_.push_back(packings_[at].item);
        for (size_t i = 0, j = taken_.size(); i + 1 < j; ++i) std::swap(taken_[i], taken_[--j]);
        return joined;
    }

    void all_subsets() {
        for (size_t i = 0; i < items_.size(); ++i) {
            const int count = (int)packings_.size();
            for (int at = 0; at < count; ++at) add(at, (int)i);
        }
        candidates_.resize(packings_.size());
        for (size_t at = 0; at < candidates_.size(); ++at) candidates_[at] = (int)at;
    }

    // For every number of rows that some items have, the items of so many rows that gain most.
    void best_of_each_size() {
        candidates_.assign(1, 0);
        int64_t most_rows = 0;
        for (const Item& item : items_) most_rows += item.rows;
        by_rows_.assign(most_rows + 1, kNone);
        by_rows_[0] = 0;
        for (size_t i = 0; i < items_.size(); ++i) {
            const std::vector<int> before = candidates_;
            for (const int at : before) {
                const int64_t rows = packings_[at].rows + items_[i].rows;
                int& place = by_rows_[rows];
                if (place == kNone) {
                    place = (int)candidates_.size();
                    candidates_.push_back(add(at, (int)i));
                } else if (packings_[at].gain + items_[i].gain > packings_[candidates_[place]].gain) {
                    candidates_[place] = add(at, (int)i);
                }
            }
        }
    }

    int add(int rest, int item) {
        const Packing packing = packings_[rest];
        packings_.push_back({packing.gain + items_[item].gain, packing.rows + items_[item].rows, item, rest});
        return (int)packings_.size() - 1;
    }

    int64_t free_rows(int64_t rows) const { return rows ? prices_.blocks(rows) * prices_.block - rows : prices_.block; }

    // `pack` of single rows: what is free, then whole blocks or nothing, then the rest if it pays for its block.
    int64_t equal_rows(double gain, int64_t count, int64_t rows, double again) const {
        const int64_t free = free_rows(rows);
        if (count <= free || gain >= again) return count;
        int64_t taken = free, left = count - free;
        if (prices_.block * gain > again) {
            taken += left / prices_.block * prices_.block;
            left %= prices_.block;
            if (left * gain > again) taken += left;
        }
        return taken;
    }

    Pool<Stem>& stems_;
    const Prices& prices_;
    const int root_;
    std::vector<State> pending_;
    std::vector<Item> items_;
    std::vector<Packing> packings_;
    std::vector<int> candidates_, by_rows_, taken_;
};

}  // namespace marcot
