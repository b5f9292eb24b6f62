// From the readers of one step to those of the next, as engine/reader_changes.py has it.
#pragma once

#include <cstdint>
#include <vector>

#include "row_order.h"
#include "serial_map.h"
#include "stem_tree.h"

namespace marcot {

// All readers that end in the same node.
struct Group {
    int64_t leaf;
    int first, last;  // readers, linked by `ReaderChanges::next`
    int64_t rows;
    bool several = false, kept = false;
};

// Readers, `[count]` each: the serial numbers of their leaves, and the other members of `Reader`.
struct Readers {
    int64_t count;
    const int64_t *leaves, *firsts, *rows, *writes;
};

class ReaderChanges {
 public:
    std::vector<Group> groups;
    std::vector<int> next;  // reader of the same node, or kNone
    std::vector<int> born;  // groups whose nodes nobody goes on with

    // Sort readers by their node; returns how many nodes are not known, and a reader of each in `strangers`.
    int64_t sort(StemTree& tree, const Readers& readers, int64_t* strangers) {
        readers_ = readers;
        groups.clear();
        next.assign(readers.count, kNone);
        group_of_.clear(readers.count);
        int64_t found = 0;
        for (int reader = 0; reader < readers.count; ++reader) {
            const int64_t leaf = readers.leaves[reader];
            int& number = group_of_[leaf];
            if (number) {
                Group& group = groups[number - 1];
                next[group.last] = reader;
                group.last = reader;
                group.rows += readers.rows[reader];
                group.several = true;
                continue;
            }
            groups.push_back({leaf, reader, reader, readers.rows[reader]});
            number = (int)groups.size();
            if (!tree.known.find(leaf)) strangers[found++] = reader;
        }
        return found;
    }

    // Let the clock tick, and with it all twigs that readers go on with; returns how many do: their numbers in `order`
    // and their readers. `due` is the next token of each twig's leaf; `parents` and `starts` are those of `strangers`.
    int64_t grow(StemTree& tree, const RowOrder& order, const int64_t* due, int64_t stranger_count,
                 const int64_t* strangers, const int64_t* parents, const int64_t* starts, int64_t* kept,
                 int64_t* going_on) {
        heirs_.clear(stranger_count);
        for (int64_t i = 0; i < stranger_count; ++i) {
            const Group* group = group_of(readers_.leaves[strangers[i]]);
            if (group->several || group->rows != 1 || readers_.firsts[group->first] != 0) continue;
            Heir& heir = heirs_[parents[i]];
            ++heir.count;
            heir.start = starts[i];
            heir.leaf = group->leaf;
        }
        gone_.clear();
        int64_t count = 0;
        ++tree.clock;
        for (size_t i = 0; i < order.twigs.size(); ++i) {
            Twig& twig = tree.twigs[order.twigs[i]];
            Group* group = group_of(twig.leaf);
            if (group && !group->several && group->rows == 1 && readers_.firsts[group->first] == due[i] &&
                readers_.writes[group->first]) {
                keep(twig, group, (int64_t)i, kept, going_on, count);
                continue;
            }
            const Heir* heir = group ? nullptr : heirs_.find(twig.leaf);
            if (heir && heir->count == 1 && heir->start == twig.start + tree.length(twig) - 1) {
                tree.pass_on(order.twigs[i], heir->leaf, heir->start);
                keep(twig, group_of(heir->leaf), (int64_t)i, kept, going_on, count);
                continue;
            }
            --twig.span;
            gone_.push_back(order.twigs[i]);
        }
        return count;
    }

    // Let no row end in a stem any more, and make room for `born`. `ends` is where the last nodes of these stems end.
    void free(StemTree& tree, const RowOrder& order, const int64_t* ends) {
        changed_ = !order.ends.empty() || !gone_.empty();
        for (size_t i = 0; i < order.ends.size(); ++i) {
            const int index = order.ends[i].stem;
            tree.end(index, 0, kNone);
            const Stem& stem = tree.stems[index];
            const bool goes_on = group_of(stem.last), partial = stem.start + stem.length() < ends[i];
            if (!stem.twigs.count && !stem.stems.count && (goes_on || partial)) tree.remove_stem(index);
        }
        born.clear();
        for (const bool several : {false, true}) {
            for (size_t i = 0; i < groups.size(); ++i) {
                if (!groups[i].kept && groups[i].several == several) born.push_back((int)i);
            }
        }
        if (born.empty()) return;
        changed_ = true;
        for (const int twig : gone_) {
            if (group_of(tree.twigs[twig].leaf)) tree.remove_twig(twig);
        }
        for (const int index : born) {
            const Group& group = groups[index];
            // A leaf that is computed now was not read below just before.
            if (!tree.known.find(group.leaf) || !(group.several || readers_.writes[group.first])) continue;
            remove_gone(tree);
            tree.tidy();
            return;
        }
    }

    // Enter a group of `born`; `end`, `childless` and `path` are asked of its node.
    void enter(StemTree& tree, int index, int64_t end, bool childless, const Path& path) {
        const Group& group = groups[index];
        if (group.several || group.rows > 1 || !childless || tree.known.find(group.leaf)) {
            tree.end(tree.add_end(group.leaf, end, path), group.rows, index);
        } else {
            tree.twigs[tree.add_twig(group.leaf, path)].group = index;
        }
    }

    // Tokens of the leaf of `group` that are read.
    int64_t covered(const Group& group) const {
        int64_t most = 0;
        for (int reader = group.first; reader != kNone; reader = next[reader]) {
            most = std::max(most, readers_.firsts[reader] + readers_.rows[reader]);
        }
        return most;
    }

    // All are entered; returns whether anything else has happened than that twigs have grown.
    bool finish(StemTree& tree) {
        remove_gone(tree);
        tree.reuse();
        return changed_;
    }

 private:
    // Nodes that begin right behind the same one.
    struct Heir {
        int count = 0;
        int64_t leaf = 0, start = 0;
    };

    Group* group_of(int64_t leaf) {
        const int* number = group_of_.find(leaf);
        return number ? &groups[*number - 1] : nullptr;
    }

    void keep(Twig& twig, Group* group, int64_t number, int64_t* kept, int64_t* going_on, int64_t& count) {
        group->kept = true;
        twig.group = (int)(group - groups.data());
        kept[count] = number;
        going_on[count++] = group->first;
    }

    void remove_gone(StemTree& tree) {
        for (const int twig : gone_) {
            if (tree.twigs[twig].alive) tree.remove_twig(twig);
        }
    }

    SerialMap<int> group_of_;  // a group's index, plus one
    SerialMap<Heir> heirs_;
    Readers readers_{};
    std::vector<int> gone_;
    bool changed_ = false;
};

}  // namespace marcot
