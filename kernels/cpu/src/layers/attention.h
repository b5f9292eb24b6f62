// Attention over a tree of KV segments.
//
// A unit of work is a few neighbouring query rows times one KV head. It goes through all work items that its rows read.
// In a first pass, it reads the K of each item once, for all of its rows and all query heads of the group, and computes
// the scores. Then it turns the scores of each query into probabilities, using the exact maximum over its path. In a
// second pass, it reads the V of each item once. Scores are stored by absolute position and summed in the order of
// positions, in runs that begin at multiples of 64, so results do not depend on how the tree is cut into items, on the
// other rows, or on the number of threads.
#pragma once

#include <algorithm>
#include <vector>

#include "../linear/tile.h"
#include "../team/scratch.h"
#include "gather_tile.h"
#include "rowwise.h"

namespace marcot {

// One row of `Plan.items`.
struct WorkItem {
    int32_t first_page, first_slot, position, length, first_row, rows;
};

struct Plan {
    const int32_t* positions;
    const WorkItem* items;
    int64_t item_count;
    const int32_t* pages;
};

// Rows of a unit at most: enough to fill tiles of rows times heads for groups of up to 8, and few enough for the scores
// of a few thousand tokens to stay in the L2 or L3 cache.
constexpr int64_t kUnitRows = 8;

// Scores that a unit stores at most, unless a single row needs more: with very long contexts, units have fewer rows.
constexpr int64_t kUnitFloats = 1 << 20;

namespace attention {

// One query head of one row.
struct Query {
    const float* q;
    float* scores;  // indexed by absolute position
    float* run;     // sum of probabilities times V over the current run of positions
    float* out;     // the same sum over all runs before it
    int64_t position;
};

// One unit of work: a few query rows, with all query heads of one KV head.
class Unit {
 public:
    Unit(const Heads& shape, const Plan& plan, int64_t kv_head, int64_t first_row, int64_t last_row, const float* q,
         const float* k_pages, const float* v_pages, float scale, float* out, const Activations& activations)
        : shape_(shape),
          plan_(plan),
          kv_head_(kv_head),
          first_row_(first_row),
          last_row_(last_row),
          q_(q),
          k_pages_(k_pages),
          v_pages_(v_pages),
          scale_(scale),
          out_(out),
          activations_(activations) {}

    void run() {
        static thread_local std::vector<const WorkItem*> items;
        static thread_local std::vector<int64_t> pages;
        static thread_local std::vector<Query> queries;
        static thread_local Scratch scratch;
        items.clear();
        for (const WorkItem* item = plan_.items; item < plan_.items + plan_.item_count; item++)
            if (item->first_row < last_row_ && item->first_row + item->rows > first_row_) items.push_back(item);
        std::stable_sort(items.begin(), items.end(),
                         [](const WorkItem* a, const WorkItem* b) { return a->position < b->position; });
        pages.clear();
        for (const WorkItem* item : items)
            for (int64_t p = 0; p < pages_of(*item); p++) {
                const int64_t page = plan_.pages[item->first_page + p];
                pages.push_back((page * shape_.kv_heads + kv_head_) * kPanel * shape_.head_dim);
            }
        pages.resize(pages.size() + 2 * kRunPages, pages.empty() ? 0 : pages.back());  // what the last items prefetch
        int64_t longest = 0;
        for (int64_t row = first_row_; row < last_row_; row++)
            longest = std::max<int64_t>(longest, plan_.positions[row] + 1);
        stride_ = (longest + 2 * kPanel) / kPanel * kPanel;
        const int64_t count = (last_row_ - first_row_) * shape_.group;
        float* scores = scratch.of<float>(count * (stride_ + shape_.head_dim));
        float* run = scores + count * stride_;
        std::fill_n(run, count * shape_.head_dim, 0.f);
        queries.clear();
        for (int64_t row = first_row_; row < last_row_; row++) {
            const int64_t at = (row * shape_.heads() + kv_head_ * shape_.group) * shape_.head_dim;
            std::fill_n(out_ + at, shape_.group * shape_.head_dim, 0.f);
            for (int64_t head = 0; head < shape_.group; head++, scores += stride_, run += shape_.head_dim)
                queries.push_back({q_ + at + head * shape_.head_dim, scores, run, out_ + at + head * shape_.head_dim,
                                   plan_.positions[row]});
        }
        queries_ = queries.data();
        const int64_t* from = pages.data();
        for (const WorkItem* item : items) {
            score(*item, from);
            from += pages_of(*item);
        }
        for (int64_t p = 0; p < kRunPages; p++)  // the first pages that `gather` reads
            for (int64_t i = 0; i < kPanel * shape_.head_dim; i += kCacheLine)
                __builtin_prefetch(v_pages_ + pages[p] + i);
        for (const Query& query : queries) normalize(query);
        from = pages.data();
        for (const WorkItem* item : items) {
            gather(*item, from);
            from += pages_of(*item);
        }
        const int64_t width = shape_.group * shape_.head_dim, column = kv_head_ * width;
        for (int64_t row = first_row_; row < last_row_; row++)
            quantize(out_ + row * shape_.heads() * shape_.head_dim + column, width, activations_, row, column);
    }

 private:
    // The queries of the unit that read an item.
    struct Readers {
        const Query* first;
        int64_t count, last_position;
    };
    Readers readers_of(const WorkItem& item) const {
        const int64_t first = std::max<int64_t>(first_row_, item.first_row);
        const int64_t last = std::min<int64_t>(last_row_, item.first_row + item.rows);
        int64_t position = 0;
        for (int64_t row = first; row < last; row++) position = std::max<int64_t>(position, plan_.positions[row]);
        return {queries_ + (first - first_row_) * shape_.group, (last - first) * shape_.group, position};
    }

    static int64_t pages_of(const WorkItem& item) { return (item.first_slot + item.length + kPanel - 1) / kPanel; }

    // Computes the scores of the item's positions. A page of K fits in the L1 cache, and every query uses it before the
    // next page is read. `from` has the offsets of the item's pages in k_pages, then those of the items after it.
    void score(const WorkItem& item, const int64_t* from) const {
        const Readers readers = readers_of(item);
        const int64_t length = std::min<int64_t>(item.length, readers.last_position + 1 - item.position);
        const int64_t page_bytes = kPanel * shape_.head_dim * sizeof(float);
        for (int64_t done = 0, count; done < length; done += count) {
            const int64_t slot = item.first_slot + done, first = slot % kPanel;
            count = std::min(kPanel - first, length - done);
            const float* panel = k_pages_ + from[slot / kPanel];
            const auto* next = (const uint8_t*)(k_pages_ + from[slot / kPanel + 1]);
            for_tiles<kTileRows>(readers.count, [&](int64_t index, auto rows) {
                constexpr int kRows = decltype(rows)::value;
                const Query* query = readers.first + index;
                const float* queries[kRows];
                float* to[kRows];
                float part[kRows * kPanel];
                for (int r = 0; r < kRows; r++) {
                    queries[r] = query[r].q;
                    to[r] = count == kPanel ? query[r].scores + item.position + done : part + r * kPanel;
                }
                const Ahead ahead{next + index * page_bytes / readers.count, page_share<kRows>(readers.count)};
                multiply_tile<kRows>(queries, shape_.head_dim, panel, false, to, ahead);
                if (count == kPanel) return;
                for (int r = 0; r < kRows; r++)  // the other lanes are positions of other items
                    std::memcpy(query[r].scores + item.position + done, to[r] + first, count * sizeof(float));
            });
        }
    }

    // Bytes of the next page that a tile prefetches in each of its head_dim steps.
    template <int Rows>
    static int64_t page_share(int64_t queries) {
        return (Rows * kPanel * (int64_t)sizeof(float) + queries - 1) / queries;
    }

    // Turns the scores of a query into probabilities, and sets those beyond its position to zero.
    void normalize(const Query& query) const {
        float* s = query.scores;
        const int64_t count = query.position + 1;
        const int64_t whole = (count + kLanes - 1) / kLanes * kLanes;
        for (int64_t i = count; i < whole; i++) s[i] = kMinusInfinity;
        F32 most = splat(kMinusInfinity);
        for (int64_t i = 0; i < whole; i += kLanes) most = maximum(load<F32>(s + i), most);
        const F32 largest = splat(horizontal_max(most));
        WideSum sum;
        for (int64_t i = 0; i < whole; i += kLanes) {
            const F32 p = exp((load<F32>(s + i) - largest) * scale_);
            store(s + i, p);
            sum.add(i, p);
        }
        const F32 inverse = splat(1 / sum.total());
        for (int64_t i = 0; i < whole; i += kLanes) store(s + i, load<F32>(s + i) * inverse);
        for (int64_t i = whole; i < stride_; i++) s[i] = 0;
    }

    // Adds probabilities times V. A run of V fits in the L1 cache, and every query uses it before the next run is read.
    // `from` is as in `score`.
    void gather(const WorkItem& item, const int64_t* from) const {
        const Readers readers = readers_of(item);
        const int64_t dim = shape_.head_dim;
        const float* pages[2 * kRunPages + 1];  // of a run, which may begin inside a page, and of the next run
        for (int64_t done = 0, count; done < item.length; done += count) {
            const int64_t position = item.position + done, slot = item.first_slot + done, first = slot % kPanel;
            count = std::min(kRunTokens - position % kRunTokens, item.length - done);
            for (int64_t p = 0; p <= 2 * kRunPages; p++) pages[p] = v_pages_ + from[slot / kPanel + p];
            for_tiles<kTileRows>(readers.count, [&](int64_t index, auto rows) {
                constexpr int kRows = decltype(rows)::value;
                const Query* query = readers.first + index;
                const float* p[kRows];
                Target targets[kRows];
                int64_t last_position = 0;  // rows that end earlier have probability 0 beyond their end
                for (int r = 0; r < kRows; r++) {
                    p[r] = query[r].scores + position - first;
                    last_position = std::max(last_position, query[r].position);
                }
                const int64_t added = std::min(count, last_position + 1 - position), end = first + added;
                if (added <= 0) return;
                for (int r = 0; r < kRows; r++) {
                    const int64_t next = position + added;
                    targets[r] = {query[r].run, query[r].out, next % kRunTokens == 0 || next > query[r].position};
                }
                const auto add = [&](auto vectors, int64_t d) {
                    constexpr int kCount = decltype(vectors)::value;
                    if (index == 0)
                        gather_tile<kRows, kCount, true>(p, first, end, pages, dim, d, targets);
                    else
                        gather_tile<kRows, kCount, false>(p, first, end, pages, dim, d, targets);
                };
                int64_t d = 0;
                for (; d + kWideVectors * kLanes <= dim; d += kWideVectors * kLanes)
                    add(std::integral_constant<int, kWideVectors>{}, d);
                for (; d + kPanel <= dim; d += kPanel) add(std::integral_constant<int, kVectors>{}, d);
                for (; d < dim; d++)
                    for (int r = 0; r < kRows; r++) {
                        float sum = targets[r].run[d];
                        for (int64_t at = first; at < end; at++)
                            sum += p[r][at] * pages[at / kPanel][at % kPanel * dim + d];
                        targets[r].run[d] = targets[r].ends ? 0 : sum;
                        if (targets[r].ends) targets[r].out[d] += sum;
                    }
            });
        }
    }

    const Heads& shape_;
    const Plan& plan_;
    const int64_t kv_head_, first_row_, last_row_;
    const float* const q_;
    const float* const k_pages_;
    const float* const v_pages_;
    const float scale_;
    float* const out_;
    const Activations& activations_;
    const Query* queries_ = nullptr;  // [rows][group]
    int64_t stride_ = 0;              // floats of scores per query
};

}  // namespace attention

// out[rows][heads][head_dim] = softmax(scale * q Kᵀ) V over the path of each row. If `activations` have integer fields,
// the result is also quantised.
inline void tree_attention(Team& team, const Heads& shape, const Plan& plan, const float* q, int64_t rows,
                           const float* k_pages, const float* v_pages, float scale, float* out,
                           const Activations& activations = {}) {
    int64_t longest = 1;
    for (int64_t row = 0; row < rows; row++) longest = std::max<int64_t>(longest, plan.positions[row] + 1);
    const int64_t unit_rows = std::clamp<int64_t>(kUnitFloats / (longest * shape.group), 1, kUnitRows);
    const int64_t blocks = (rows + unit_rows - 1) / unit_rows;
    const bool units_are_blocks = shape.group * shape.head_dim % kBlock == 0;
    const Activations of_units = units_are_blocks ? activations : Activations{};
    team.run(blocks * shape.kv_heads, 1, [&](int64_t first, int64_t last) {
        for (int64_t unit = first; unit < last; unit++) {  // neighbouring units share the KV head, not the rows
            const int64_t block = unit % blocks, from = rows * block / blocks, to = rows * (block + 1) / blocks;
            attention::Unit(shape, plan, unit / blocks, from, to, q, k_pages, v_pages, scale, out, of_units).run();
        }
    });
    if (!units_are_blocks) quantize(team, activations);
}

}  // namespace marcot
