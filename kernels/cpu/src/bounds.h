// Bounds checks of token ids, slots, positions and plans. They run once per call, before any thread starts.
#pragma once

#include <algorithm>

#include "layers/attention.h"

namespace marcot {

// Why a call was refused; a refused call writes nothing. Python has a message for each value.
enum Refusal : int64_t { kDone, kBadToken, kBadSlot, kBadPosition, kBadItem, kBadPage, kNoRoom };

// Whether all of `values` are in [first, end).
template <typename T>
inline bool all_within(const T* values, int64_t count, int64_t first, int64_t end) {
    return std::all_of(values, values + count, [&](int64_t value) { return value >= first && value < end; });
}

// Checks slots; -1 means that a row stores no K and V.
inline Refusal check_slots(const int64_t* slots, int64_t rows, const Heads& shape, int64_t page_count) {
    return all_within(slots, rows, -1, page_count * shape.page_size) ? kDone : kBadSlot;
}

// Checks a plan for `rows` rows, with `listed` entries in its list of pages.
inline Refusal check_plan(const Plan& plan, int64_t rows, int64_t listed, const Heads& shape, int64_t page_count) {
    if (!all_within(plan.positions, rows, 0, page_count * shape.page_size)) return kBadPosition;
    if (!all_within(plan.pages, listed, 0, page_count)) return kBadPage;
    const bool sound = std::all_of(plan.items, plan.items + plan.item_count, [&](const WorkItem& item) {
        const int64_t end_row = (int64_t)item.first_row + item.rows;
        const int64_t last_slot = (int64_t)item.first_slot + item.length - 1;
        return item.first_row >= 0 && item.rows > 0 && end_row <= rows && item.position >= 0 && item.length > 0 &&
               item.first_slot >= 0 && item.first_page >= 0 && item.first_page + last_slot / shape.page_size < listed;
    });
    return sound ? kDone : kBadItem;
}

}  // namespace marcot
