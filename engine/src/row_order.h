// The order of the query rows and who reads what, as engine/tile_order.py has it, and where the tokens lie among
// `Tiles.slots`, as engine/slot_regions.py has it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "stem_tree.h"

namespace marcot {

// Tokens that fit behind a new region, besides half of its length.
constexpr int64_t kRoom = 128;

class RowOrder {
 public:
    // Twigs of one stem, in consecutive rows, that take so many of the last tokens of its path along.
    struct TwigGroup {
        int base;
        int64_t carried, first_row, rows;
    };

    // Tokens of a stem that are read in tiles of their own, with `carried` before it and without the `left` last ones.
    struct StemRun {
        int stem;
        int64_t carried, left, first_row, rows;
    };

    struct End {
        int stem;
        int64_t row;
    };

    std::vector<int> twigs;
    std::vector<TwigGroup> groups;
    std::vector<StemRun> runs;
    std::vector<End> ends;
    int64_t rows = 0;

    // Walk through `tree`, so that the rows of every tile are neighbours: with the choices that it has, or, if `chunk`
    // is not zero, with whole chunks shared by all who read them.
    void walk(StemTree& tree, int64_t chunk) {
        twigs.clear();
        groups.clear();
        runs.clear();
        ends.clear();
        rows = 0;
        std::vector<std::pair<int, int64_t>> pending = {{tree.root, 0}};
        std::vector<int> joined;
        while (!pending.empty()) {
            const auto [index, carried] = pending.back();
            pending.pop_back();
            const Stem& stem = tree.stems[index];
            int64_t left = 0, joined_twigs = 0;
            joined.clear();
            if (!chunk) {
                const Choice& choice = *stem.choice(carried);
                joined_twigs = choice.twigs;
                joined.assign(stem.joined.begin() + choice.first, stem.joined.begin() + choice.first + choice.count);
            } else if ((stem.start + stem.length()) % chunk < carried + stem.length() && stem.base != kNone) {
                left = (stem.start + stem.length()) % chunk;
                joined_twigs = stem.twigs.count;
                for (int upper = stem.stems.first; upper != kNone; upper = tree.stems[upper].after)
                    joined.push_back(upper);
            }
            const int64_t tokens = carried + stem.length(), apart = stem.twigs.count - joined_twigs;
            int twig = stem.twigs.first;
            int64_t tile_rows = stem.own_rows + joined_twigs;
            for (int upper : joined) tile_rows += tree.stems[upper].rows;
            const size_t first_joined = twigs.size();
            for (int64_t i = 0; i < joined_twigs; ++i, twig = tree.twigs[twig].after) twigs.push_back(twig);
            if (apart) {
                groups.push_back({index, tokens, rows, apart});
                rows += apart;
                for (; twig != kNone; twig = tree.twigs[twig].after) twigs.push_back(twig);
                std::rotate(twigs.begin() + first_joined, twigs.begin() + first_joined + joined_twigs, twigs.end());
            }
            if (tile_rows && tokens) runs.push_back({index, carried, left, rows, tile_rows});
            if (stem.own_rows) {
                if (left) runs.push_back({index, left - stem.length(), 0, rows, stem.own_rows});
                ends.push_back({index, rows});
                rows += stem.own_rows;
            }
            if (joined_twigs) {
                groups.push_back({index, left, rows, joined_twigs});
                rows += joined_twigs;
            }
            ++epoch_;
            marks_.resize(std::max(marks_.size(), (size_t)tree.stems.size()));
            for (int upper : joined) marks_[upper] = epoch_;
            for (int upper = stem.stems.first; upper != kNone; upper = tree.stems[upper].after) {
                if (marks_[upper] != epoch_) pending.push_back({upper, tokens});
            }
            for (int upper : joined) pending.push_back({upper, left});
        }
    }

    // `[5][twigs + runs]`: the columns of `Runs`; `positions[rows]` of the rows of twigs.
    void write_runs(const StemTree& tree, int64_t* out, int64_t* positions) const {
        const size_t count = twigs.size() + runs.size();
        int64_t *first = out, *position = first + count, *length = position + count, *first_row = length + count,
                *read_by = first_row + count;
        size_t at = 0;
        for (const TwigGroup& group : groups) {
            for (int64_t i = 0; i < group.rows; ++i, ++at) {
                const Twig& twig = tree.twigs[twigs[at]];
                first[at] = twig.region;
                position[at] = twig.start - group.carried;
                length[at] = tree.length(twig) + group.carried;
                first_row[at] = group.first_row + i;
                read_by[at] = 1;
                positions[first_row[at]] = position[at] + length[at] - 1;
            }
        }
        for (const StemRun& run : runs) {
            const Stem& stem = tree.stems[run.stem];
            first[at] = stem.region + stem.carried - run.carried;
            position[at] = stem.start - run.carried;
            length[at] = run.carried + stem.length() - run.left;
            first_row[at] = run.first_row;
            read_by[at++] = run.rows;
        }
    }

    // --- regions -----------------------------------------------------------------------------------------------------

    // Tokens of the regions that are missing, or have no room left at the clock `latest`.
    int64_t find_layouts(const StemTree& tree, int64_t latest) {
        layouts_.clear();
        int64_t size = 0;
        size_t at = 0;
        for (const TwigGroup& group : groups) {
            for (int64_t i = 0; i < group.rows; ++i, ++at) {
                const Twig& twig = tree.twigs[twigs[at]];
                if (twig.in_region && twig.carried == group.carried && twig.full >= latest) continue;
                layouts_.push_back({twigs[at], true, group.base, group.carried});
                size += group.carried + tree.length(twig) + room(tree.length(twig));
            }
        }
        for (const StemRun& run : runs) {
            const Stem& stem = tree.stems[run.stem];
            if (run.carried < 0 || (stem.region >= 0 && stem.carried == run.carried)) continue;
            layouts_.push_back({run.stem, false, stem.base, run.carried});
            size += run.carried + stem.length();
        }
        return size;
    }

    // Take everything out of its region.
    void clear_regions(StemTree& tree) {
        tree.each_stem([](Stem& stem) { stem.region = -1; });
        for (int index : twigs) {
            Twig& twig = tree.twigs[index];
            if (!twig.in_region) continue;
            const int32_t* own = tree.own_slots(twig);
            twig.slots.assign(own, own + tree.length(twig));
            twig.in_region = false;
        }
    }

    // Lay out what `find_layouts` has found, from `at` on; returns where it ends.
    int64_t lay_out(StemTree& tree, int32_t* slots, int64_t at) {
        for (const Layout& layout : layouts_) {
            const int64_t region = at;
            at += layout.carried;
            copy_tail(tree, layout.base, layout.carried, slots + at);
            if (!layout.is_twig) {
                Stem& stem = tree.stems[layout.owner];
                std::copy(stem.slots.begin(), stem.slots.end(), slots + at);
                stem.region = region;
                stem.carried = layout.carried;
                at += stem.length();
                continue;
            }
            Twig& twig = tree.twigs[layout.owner];
            const int64_t length = tree.length(twig);
            std::memcpy(slots + at, tree.own_slots(twig), length * sizeof(int32_t));
            twig.region = region;
            twig.carried = layout.carried;
            twig.in_region = true;
            twig.full = tree.clock + room(length);
            at += length + room(length);
        }
        return at;
    }

 private:
    struct Layout {
        int owner;
        bool is_twig;
        int base;
        int64_t carried;
    };

    static int64_t room(int64_t length) { return kRoom + length / 2; }

    // The last `count` slots of the path that ends with stem `base`, up to `end`.
    static void copy_tail(const StemTree& tree, int base, int64_t count, int32_t* end) {
        for (; count > 0; base = tree.stems[base].base) {
            const std::vector<int32_t>& own = tree.stems[base].slots;
            const int64_t taken = std::min(count, (int64_t)own.size());
            end -= taken;
            std::copy(own.end() - taken, own.end(), end);
            count -= taken;
        }
    }

    std::vector<Layout> layouts_;
    std::vector<int64_t> marks_;
    int64_t epoch_ = 0;
};

}  // namespace marcot
