// Stems and twigs, as engine/stem.py has them; each is known by its index in a pool.
#pragma once

#include <cstdint>
#include <vector>

namespace marcot {

constexpr int kNone = -1;

// What a stem's tokens, and so many that come along, cost at least, and who joins to get there.
struct Choice {
    int64_t carried;
    double cost;
    int twigs;
    int first, count;  // stems that join, among `Stem::joined`
};

// Members of a list in the order in which they came.
struct Siblings {
    int first = kNone, last = kNone, count = 0;
};

struct Stem {
    int base = kNone, before = kNone, after = kNone;
    int64_t last = 0, start = 0;
    std::vector<int32_t> slots;
    int64_t own_rows = 0, rows = 0;
    Siblings twigs, stems;
    std::vector<Choice> choices;
    std::vector<int> joined;
    int64_t region = -1, carried = 0;
    int changed_at = kNone, group = kNone, mark = 0;
    int64_t shape[4] = {-1, -1, -1, -1};
    std::vector<int> shape_stems;

    int64_t length() const { return (int64_t)slots.size(); }

    const Choice* choice(int64_t carried) const {
        for (const Choice& choice : choices) {
            if (choice.carried == carried) return &choice;
        }
        return nullptr;
    }

    void forget_costs() {
        choices.clear();
        joined.clear();
    }
};

struct Twig {
    int base = kNone, before = kNone, after = kNone;
    int64_t leaf = 0, start = 0, span = 0;
    std::vector<int32_t> slots;
    bool in_region = false, alive = false;
    int64_t region = -1, carried = 0, full = 0;
    int group = kNone;
};

// Members that are made and given back; what is given back is used again.
template <typename Member>
class Pool {
 public:
    Member& operator[](int index) { return members_[index]; }
    const Member& operator[](int index) const { return members_[index]; }

    size_t size() const { return members_.size(); }

    int make() {
        if (free_.empty()) {
            members_.emplace_back();
            return (int)members_.size() - 1;
        }
        const int index = free_.back();
        free_.pop_back();
        members_[index] = Member();
        return index;
    }

    void give_back(int index) { free_.push_back(index); }

    // Take `index` into the list of those that `siblings` counts.
    void append(Siblings& siblings, int index) {
        members_[index].before = siblings.last;
        members_[index].after = kNone;
        (siblings.last == kNone ? siblings.first : members_[siblings.last].after) = index;
        siblings.last = index;
        ++siblings.count;
    }

    void remove(Siblings& siblings, int index) {
        const Member& member = members_[index];
        (member.before == kNone ? siblings.first : members_[member.before].after) = member.after;
        (member.after == kNone ? siblings.last : members_[member.after].before) = member.before;
        --siblings.count;
    }

 private:
    std::vector<Member> members_;
    std::vector<int> free_;
};

}  // namespace marcot
