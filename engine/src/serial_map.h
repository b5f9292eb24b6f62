// A map from the serial numbers of KV nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace marcot {

// Open addressing with linear probing; serial numbers are not negative.
template <typename Value>
class SerialMap {
 public:
    SerialMap() { clear(16); }

    Value* find(int64_t key) {
        for (size_t at = home(key);; at = (at + 1) & mask_) {
            if (entries_[at].first == key) return &entries_[at].second;
            if (entries_[at].first < 0) return nullptr;
        }
    }

    // The value of `key`, which is a fresh one if there was none.
    Value& operator[](int64_t key) {
        if (Value* found = find(key)) return *found;
        if (2 * ++size_ > mask_) grow();
        return place(key, Value());
    }

    void erase(int64_t key) {
        size_t at = home(key);
        while (entries_[at].first != key) {
            if (entries_[at].first < 0) return;
            at = (at + 1) & mask_;
        }
        --size_;
        for (size_t next = (at + 1) & mask_; entries_[next].first >= 0; next = (next + 1) & mask_) {
            if (((next - home(entries_[next].first)) & mask_) >= ((next - at) & mask_)) {
                entries_[at] = entries_[next];
                at = next;
            }
        }
        entries_[at].first = -1;
    }

    // Forget everything; there is room for `count` keys.
    void clear(size_t count) {
        size_t capacity = 16;
        while (capacity < 3 * count) capacity *= 2;
        entries_.assign(capacity, {-1, Value()});
        mask_ = capacity - 1;
        size_ = 0;
    }

 private:
    size_t home(int64_t key) const { return (uint64_t)key * 0x9E3779B97F4A7C15u >> 32 & mask_; }

    Value& place(int64_t key, const Value& value) {
        size_t at = home(key);
        while (entries_[at].first >= 0) at = (at + 1) & mask_;
        entries_[at] = {key, value};
        return entries_[at].second;
    }

    void grow() {
        std::vector<std::pair<int64_t, Value>> old = std::move(entries_);
        entries_.assign(old.size() * 2, {-1, Value()});
        mask_ = entries_.size() - 1;
        for (const auto& [key, value] : old) {
            if (key >= 0) place(key, value);
        }
    }

    std::vector<std::pair<int64_t, Value>> entries_;
    size_t mask_ = 0, size_ = 0;
};

}  // namespace marcot
