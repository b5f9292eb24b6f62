// Stable sorting in linear time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace marcot {

struct Keyed {
    uint64_t key;
    int index;
};

// Sorts by digits, from the lowest one up; those that all keys share are left out.
class Sorter {
 public:
    std::vector<Keyed> items;

    void sort() {
        uint64_t same = ~(uint64_t)0, first = items.empty() ? 0 : items[0].key;
        for (const Keyed& item : items) same &= ~(item.key ^ first);
        other_.resize(items.size());
        for (int shift = 0; shift < 64; shift += kBits) {
            if ((same >> shift & kMask) == (~(uint64_t)0 >> shift & kMask)) continue;
            std::array<uint32_t, kMask + 1> begins{};
            for (const Keyed& item : items) ++begins[item.key >> shift & kMask];
            uint32_t begin = 0;
            for (uint32_t& entry : begins) begin += std::exchange(entry, begin);
            for (const Keyed& item : items) other_[begins[item.key >> shift & kMask]++] = item;
            items.swap(other_);
        }
    }

 private:
    static constexpr int kBits = 11;
    static constexpr uint64_t kMask = (1 << kBits) - 1;
    std::vector<Keyed> other_;
};

}  // namespace marcot
