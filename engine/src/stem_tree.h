// The tree of stems in step with the readers, as engine/stem_tree.py has it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "serial_map.h"
#include "stem.h"

namespace marcot {

// A node on a path that is read: the stem or the twig that it belongs to, where it starts, and the node below it.
struct Known {
    int home = kNone;
    bool in_twig = false;
    int64_t start = 0, parent = -1;
};

// The part of a path that is new, from its end down.
struct Path {
    int64_t count;
    const int64_t *serials, *parents, *starts;
    int64_t tokens;
    const int32_t* slots;
};

class StemTree {
 public:
    StemTree() {
        root = stems.make();
        known[0] = {root, false, 0, -1};
    }

    Pool<Stem> stems;
    Pool<Twig> twigs;
    SerialMap<Known> known;
    std::vector<int64_t> forgotten;   // nodes that are not known any more
    const int32_t* buffer = nullptr;  // `Tiles.slots`
    int64_t clock = 0;
    int root;

    int64_t length(const Twig& twig) const { return twig.span + clock; }

    const int32_t* own_slots(const Twig& twig) const {
        return twig.in_region ? buffer + twig.region + twig.carried : twig.slots.data();
    }

    template <typename Visit>
    void each_stem(Visit visit) {
        std::vector<int> pending = {root};
        for (size_t i = 0; i < pending.size(); ++i) {
            for (int stem = stems[pending[i]].stems.first; stem != kNone; stem = stems[stem].after) {
                pending.push_back(stem);
            }
            visit(stems[pending[i]]);
        }
    }

    // --- readers come and go ---------------------------------------------------------------------------------------

    int add_twig(int64_t leaf, const Path& path) {
        const int base = base_of(path);
        const int index = twigs.make();
        Twig& twig = twigs[index];
        twig.base = base;
        twig.leaf = leaf;
        twig.start = path.starts[path.count - 1];
        twig.span = path.tokens - clock;
        twig.slots.assign(path.slots, path.slots + path.tokens);
        twig.alive = true;
        twigs.append(stems[base].twigs, index);
        enter(path, index, true);
        change(base);
        return index;
    }

    // The stem that ends with `leaf`, which ends before position `end` if it is known.
    int add_end(int64_t leaf, int64_t end, const Path& path) {
        if (known.find(leaf)) return ending_with(leaf, end);
        const int base = base_of(path);
        const int index = stems.make();
        Stem& stem = stems[index];
        stem.base = base;
        stem.last = leaf;
        stem.start = path.starts[path.count - 1];
        stem.slots.assign(path.slots, path.slots + path.tokens);
        stems.append(stems[base].stems, index);
        enter(path, index, false);
        return index;
    }

    void end(int stem, int64_t rows, int group) {
        stems[stem].own_rows = rows;
        stems[stem].group = group;
        change(stem);
    }

    void remove_twig(int index) {
        Twig& twig = twigs[index];
        twigs.remove(stems[twig.base].twigs, index);
        change(twig.base);
        forget(twig.leaf, twig.base);
        bury(index);
    }

    void remove_stem(int index) {
        const int base = stems[index].base;
        stems.remove(stems[base].stems, index);
        stems[index].changed_at = kNone;
        change(base);
        forget(stems[index].last, base);
        stems.give_back(index);
    }

    void pass_on(int index, int64_t leaf, int64_t start) {
        known[leaf] = {index, true, start, twigs[index].leaf};
        twigs[index].leaf = leaf;
    }

    // `lower` starts at `start` now, as `upper` was cut off its lower end.
    void split(int64_t lower, int64_t start, int64_t upper, int64_t upper_start) {
        Known part = *known.find(lower);
        known[upper] = {part.home, part.in_twig, upper_start, part.parent};
        Known& rest = *known.find(lower);
        rest.start = start;
        rest.parent = upper;
    }

    // Twigs that are gone may be made anew from now on.
    void reuse() {
        for (int twig : buried_) twigs.give_back(twig);
        buried_.clear();
    }

    void settle() {
        tidy();
        std::vector<int> pending, stale;
        ++epoch_;
        for (int at = 0; at < (int)changed_.size(); ++at) {
            if (stems[changed_[at]].changed_at == at && reshaped(changed_[at])) {
                pending.push_back(changed_[at]);
                stems[changed_[at]].mark = epoch_;
            }
        }
        stale = pending;
        for (int stem : pending) {
            for (int base = stems[stem].base; base != kNone && stems[base].mark != epoch_; base = stems[base].base) {
                reshaped(base);
                stems[base].mark = epoch_;
                stale.push_back(base);
            }
        }
        std::sort(stale.begin(), stale.end(), [this](int a, int b) {
            return (b == root) != (a == root) ? b == root : stems[a].start > stems[b].start;
        });
        if (stale.empty() || stale.back() != root) stale.push_back(root);
        for (int index : stale) {
            Stem& stem = stems[index];
            stem.rows = stem.twigs.count + stem.own_rows;
            for (int upper = stem.stems.first; upper != kNone; upper = stems[upper].after)
                stem.rows += stems[upper].rows;
            stem.forget_costs();
        }
        for (int index : changed_) stems[index].changed_at = kNone;
        changed_.clear();
    }

    // Remove what nobody reads and join what goes on undivided.
    void tidy() {
        std::vector<int> pending;
        for (int at = 0; at < (int)changed_.size(); ++at) {
            if (stems[changed_[at]].changed_at == at) pending.push_back(changed_[at]);
        }
        while (!pending.empty()) {
            const int index = pending.back();
            pending.pop_back();
            Stem& stem = stems[index];
            const int base = stem.base;
            if (base == kNone || stem.own_rows || stem.changed_at == kNone) continue;
            const int branches = stem.twigs.count + stem.stems.count;
            if (branches > 1) continue;
            stems.remove(stems[base].stems, index);
            stem.changed_at = kNone;
            change(base);
            if (branches == 0) {
                forget(stem.last, base);
                pending.push_back(base);
            } else if (stem.twigs.count) {
                join_twig(stem, base, stem.twigs.first);
            } else {
                join_stem(stem, base, stem.stems.first);
            }
            stems.give_back(index);
        }
    }

 private:
    void change(int index) {
        if (stems[index].changed_at != kNone) return;
        stems[index].changed_at = (int)changed_.size();
        changed_.push_back(index);
    }

    void bury(int index) {
        twigs[index].alive = false;
        buried_.push_back(index);
    }

    bool reshaped(int index) {
        Stem& stem = stems[index];
        const int64_t now[4] = {stem.start, stem.length(), stem.own_rows, stem.twigs.count};
        bool same = std::equal(now, now + 4, stem.shape) && (int)stem.shape_stems.size() == stem.stems.count;
        std::copy(now, now + 4, stem.shape);
        stem.shape_stems.resize(stem.stems.count);
        size_t i = 0;
        for (int upper = stem.stems.first; upper != kNone; upper = stems[upper].after, ++i) {
            same = same && stem.shape_stems[i] == upper;
            stem.shape_stems[i] = upper;
        }
        return !same;
    }

    int base_of(const Path& path) { return ending_with(path.parents[path.count - 1], path.starts[path.count - 1]); }

    void enter(const Path& path, int home, bool in_twig) {
        for (int64_t i = 0; i < path.count; ++i) {
            known[path.serials[i]] = {home, in_twig, path.starts[i], path.parents[i]};
        }
    }

    void forget(int64_t last, int base) {
        const int64_t end = stems[base].last;
        for (int64_t node = last; node >= 0 && node != end;) {
            const Known* found = known.find(node);
            if (!found) return;
            const int64_t parent = found->parent;
            known.erase(node);
            forgotten.push_back(node);
            node = parent;
        }
    }

    void move_in(int64_t last, int base, int home, bool in_twig) {
        const int64_t end = stems[base].last;
        for (int64_t node = last; node >= 0 && node != end;) {
            Known& found = *known.find(node);
            found.home = home;
            found.in_twig = in_twig;
            node = found.parent;
        }
    }

    // The stem that ends with the known `node`, at position `end`; cut off or made of a twig if there is none.
    int ending_with(int64_t node, int64_t end) {
        const Known home = *known.find(node);
        if (!home.in_twig) return stems[home.home].last == node ? home.home : cut_stem(home.home, node, end);
        return twigs[home.home].leaf == node ? harden(home.home) : cut_twig(home.home, node, end);
    }

    int make_stem(int base, int64_t last, int64_t start, const int32_t* slots, int64_t count) {
        const int index = stems.make();
        Stem& stem = stems[index];
        stem.base = base;
        stem.last = last;
        stem.start = start;
        stem.slots.assign(slots, slots + count);
        stems.append(stems[base].stems, index);
        return index;
    }

    int cut_stem(int upper_index, int64_t node, int64_t end) {
        const int base = stems[upper_index].base;
        const int64_t at = end - stems[upper_index].start;
        stems.remove(stems[base].stems, upper_index);
        const std::vector<int32_t> slots = stems[upper_index].slots;
        const int index = make_stem(base, node, stems[upper_index].start, slots.data(), at);
        Stem& upper = stems[upper_index];
        upper.base = index;
        upper.start += at;
        upper.slots.assign(slots.begin() + at, slots.end());
        upper.carried += at;
        stems.append(stems[index].stems, upper_index);
        move_in(node, base, index, false);
        change(upper_index);
        return index;
    }

    int cut_twig(int twig_index, int64_t node, int64_t end) {
        Twig& twig = twigs[twig_index];
        const int base = twig.base;
        const int64_t at = end - twig.start;
        const int index = make_stem(base, node, twig.start, own_slots(twig), at);
        if (!twig.in_region) twig.slots.erase(twig.slots.begin(), twig.slots.begin() + at);
        twigs.remove(stems[base].twigs, twig_index);
        twig.base = index;
        twig.start += at;
        twig.span -= at;
        twig.carried += at;
        twigs.append(stems[index].twigs, twig_index);
        move_in(node, base, index, false);
        change(index);
        return index;
    }

    int harden(int twig_index) {
        const Twig& twig = twigs[twig_index];
        const int index = make_stem(twig.base, twig.leaf, twig.start, own_slots(twig), length(twig));
        twigs.remove(stems[twig.base].twigs, twig_index);
        move_in(twig.leaf, twig.base, index, false);
        change(index);
        bury(twig_index);
        return index;
    }

    void join_twig(const Stem& stem, int base, int twig_index) {
        Twig& twig = twigs[twig_index];
        if (twig.in_region && twig.carried >= stem.length()) {
            twig.carried -= stem.length();
        } else {
            std::vector<int32_t> slots = stem.slots;
            const int32_t* own = own_slots(twig);
            slots.insert(slots.end(), own, own + length(twig));
            twig.slots = std::move(slots);
            twig.in_region = false;
            twig.region = -1;
        }
        twig.base = base;
        twig.start = stem.start;
        twig.span += stem.length();
        twigs.append(stems[base].twigs, twig_index);
        move_in(stem.last, base, twig_index, true);
    }

    void join_stem(const Stem& stem, int base, int upper_index) {
        Stem& upper = stems[upper_index];
        upper.slots.insert(upper.slots.begin(), stem.slots.begin(), stem.slots.end());
        upper.base = base;
        upper.start = stem.start;
        upper.region = -1;
        stems.append(stems[base].stems, upper_index);
        move_in(stem.last, base, upper_index, false);
        change(upper_index);
    }

    std::vector<int> changed_, buried_;
    int epoch_ = 0;
};

}  // namespace marcot
