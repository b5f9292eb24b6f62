// The library's interface: plain C functions on flat arrays, whose shapes the caller has checked. Integers are 64 bits
// wide, apart from slots. A forest is a handle to all that is kept from one step to the next.

#include "balance.h"
#include "cutting.h"
#include "merging.h"
#include "reader_changes.h"
#include "row_order.h"

#define MARCOT_API extern "C" __attribute__((visibility("default")))

namespace marcot {
namespace {

struct Forest {
    StemTree tree;
    RowOrder order;
    ReaderChanges changes;
    Cutting cutting;
};

}  // namespace
}  // namespace marcot

using namespace marcot;

MARCOT_API Forest* marcot_new() { return new Forest; }

MARCOT_API void marcot_delete(Forest* forest) { delete forest; }

// A step begins: sort its readers, whose arrays stay where they are until it is planned.
MARCOT_API int64_t marcot_sort(Forest* forest, int32_t* slots, int64_t clock, int64_t count, const int64_t* leaves,
                               const int64_t* firsts, const int64_t* rows, const int64_t* writes, int64_t* strangers) {
    forest->tree.buffer = slots;
    forest->tree.clock = clock;
    return forest->changes.sort(forest->tree, {count, leaves, firsts, rows, writes}, strangers);
}

MARCOT_API int64_t marcot_grow(Forest* forest, const int64_t* due, int64_t count, const int64_t* strangers,
                               const int64_t* parents, const int64_t* starts, int64_t* kept, int64_t* readers) {
    return forest->changes.grow(forest->tree, forest->order, due, count, strangers, parents, starts, kept, readers);
}

// Returns how many groups are born; a reader of each goes to `readers`, to `covered` how many tokens of its leaf are
// read.
MARCOT_API int64_t marcot_free(Forest* forest, const int64_t* ends, int64_t* readers, int64_t* covered) {
    ReaderChanges& changes = forest->changes;
    changes.free(forest->tree, forest->order, ends);
    for (size_t i = 0; i < changes.born.size(); ++i) {
        const Group& group = changes.groups[changes.born[i]];
        readers[i] = group.first;
        covered[i] = changes.covered(group);
    }
    return (int64_t)changes.born.size();
}

// Enter all groups that are born, with the new parts of their paths; returns whether anything has changed.
MARCOT_API int64_t marcot_enter(Forest* forest, const int64_t* ends, const int64_t* childless, const int64_t* nodes,
                                const int64_t* serials, const int64_t* parents, const int64_t* starts,
                                const int64_t* tokens, const int32_t* slots) {
    const std::vector<int>& born = forest->changes.born;
    for (size_t i = 0; i < born.size(); ++i) {
        const Path path{nodes[i], serials, parents, starts, tokens[i], slots};
        forest->changes.enter(forest->tree, born[i], ends[i], childless[i], path);
        serials += nodes[i];
        parents += nodes[i];
        starts += nodes[i];
        slots += tokens[i];
    }
    return forest->changes.finish(forest->tree);
}

// Which of `serials` belong to nodes that are known, and where these start.
MARCOT_API void marcot_starts(Forest* forest, int64_t count, const int64_t* serials, int64_t* starts) {
    for (int64_t i = 0; i < count; ++i) {
        const Known* known = forest->tree.known.find(serials[i]);
        starts[i] = known ? known->start : -1;
    }
}

MARCOT_API void marcot_split(Forest* forest, int64_t lower, int64_t start, int64_t upper, int64_t upper_start) {
    forest->tree.split(lower, start, upper, upper_start);
}

// Nodes that are not known any more since the last call.
MARCOT_API int64_t marcot_forgotten(Forest* forest, int64_t* serials) {
    std::vector<int64_t>& forgotten = forest->tree.forgotten;
    const int64_t count = (int64_t)forgotten.size();
    if (serials) {
        std::copy(forgotten.begin(), forgotten.end(), serials);
        forgotten.clear();
    }
    return count;
}

// Returns the rows of the step.
MARCOT_API int64_t marcot_settle(Forest* forest) {
    forest->tree.settle();
    return forest->tree.stems[forest->tree.root].rows;
}

MARCOT_API void marcot_reprice(Forest* forest) {
    forest->tree.each_stem([](Stem& stem) { stem.forget_costs(); });
}

MARCOT_API double marcot_solve(Forest* forest, double token, double partial, double tile, double product,
                               int64_t block) {
    const Prices prices{token, partial, tile, product, block};
    return Merging(forest->tree, prices).solve();
}

// Order the rows: counts of twigs, runs, stems in which rows end, rows.
MARCOT_API void marcot_order(Forest* forest, int64_t chunk, int64_t* counts) {
    RowOrder& order = forest->order;
    order.walk(forest->tree, chunk);
    counts[0] = (int64_t)order.twigs.size();
    counts[1] = (int64_t)order.runs.size();
    counts[2] = (int64_t)order.ends.size();
    counts[3] = order.rows;
}

MARCOT_API void marcot_runs(Forest* forest, int64_t clock, int64_t* runs, int64_t* positions) {
    forest->tree.clock = clock;
    forest->order.write_runs(forest->tree, runs, positions);
}

// The reader of each twig and its first row; the readers of each stem in which rows end, with the first of its rows.
// Returns the clock at which the first region has no more room.
MARCOT_API int64_t marcot_rows(Forest* forest, int64_t* twig_readers, int64_t* end_readers, int64_t* end_rows) {
    const ReaderChanges& changes = forest->changes;
    int64_t full = INT64_MAX;
    for (const int index : forest->order.twigs) {
        const Twig& twig = forest->tree.twigs[index];
        *twig_readers++ = changes.groups[twig.group].first;
        full = std::min(full, twig.full);
    }
    for (const RowOrder::End& end : forest->order.ends) {
        *end_rows++ = end.row;
        *end_readers++ = changes.groups[forest->tree.stems[end.stem].group].first;
    }
    return full;
}

MARCOT_API int64_t marcot_find_layouts(Forest* forest, int64_t latest) {
    return forest->order.find_layouts(forest->tree, latest);
}

MARCOT_API void marcot_clear_regions(Forest* forest) { forest->order.clear_regions(forest->tree); }

MARCOT_API int64_t marcot_lay_out(Forest* forest, int32_t* slots, int64_t at) {
    const int64_t used = forest->order.lay_out(forest->tree, slots, at);
    forest->tree.buffer = slots;
    return used;
}

// Whether any tails would rather share a tile.
MARCOT_API int64_t marcot_may_share(Forest* forest, const int64_t* runs, int64_t count, double token, double partial,
                                    double tile, double product, int64_t block) {
    Tails tails;
    const Prices prices{token, partial, tile, product, block};
    tails.share(RunTable(runs, count), (int64_t)forest->order.twigs.size(), prices, block);
    return !tails.tiles.empty();
}

// The most that a tile should cost, unless that is given, when the last worker is done, and what all tiles cost;
// returns how many tails share one.
MARCOT_API int64_t marcot_even_cost(const int64_t* runs, int64_t count, int64_t twigs, int64_t workers, double token,
                                    double partial, double tile, double product, int64_t block, double most,
                                    double* found) {
    const Prices prices{token, partial, tile, product, block};
    const RunTable table(runs, count);
    const Even even = Balance(table, prices, workers).even_cost(twigs, most);
    found[0] = even.most;
    found[1] = even.end;
    found[2] = even.total;
    return even.together;
}

// Cut runs into tiles: counts of tiles, of partial results and of the places of tails.
MARCOT_API void marcot_cut(Forest* forest, const int64_t* runs, int64_t count, double token, double partial,
                           double tile, double product, int64_t block, double most, int64_t together, int64_t used,
                           int64_t chunk, int64_t causal, const int64_t* positions, int64_t rows, int64_t* counts) {
    Cutting& cutting = forest->cutting;
    const Prices prices{token, partial, tile, product, block};
    const int64_t twigs = chunk ? 0 : (int64_t)forest->order.twigs.size();
    cutting.cut(RunTable(runs, count), prices, {most, twigs, together, used, chunk, chunk > 0, causal != 0}, positions,
                rows);
    counts[0] = (int64_t)cutting.tiles.size();
    counts[1] = (int64_t)cutting.partials.size();
    counts[2] = cutting.tails.places();
}

// The tables of the last cut, and of each run the tile that has its last token, or where that is among `slots`. Returns
// how many tokens each tail may grow by.
MARCOT_API int64_t marcot_tables(Forest* forest, const int64_t* runs, int64_t count, Tile* tiles, int32_t* partials,
                                 int32_t* merges, int32_t* starts, int32_t* slots, int64_t used, int64_t* last,
                                 int64_t* places) {
    const Cutting& cutting = forest->cutting;
    std::copy(cutting.tiles.begin(), cutting.tiles.end(), tiles);
    std::copy(cutting.partials.begin(), cutting.partials.end(), partials);
    std::copy(cutting.merges.begin(), cutting.merges.end(), merges);
    std::copy(cutting.last.begin(), cutting.last.end(), last);
    return cutting.tails.write(RunTable(runs, count), slots, used, starts, places);
}
