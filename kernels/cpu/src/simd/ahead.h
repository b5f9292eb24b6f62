// Prefetching: loading memory into the cache while other work goes on.
#pragma once

#include <cstdint>

namespace marcot {

// A range of memory to prefetch in steps: each step fetches the next `per_step` bytes and, if `second` is not 0, the
// same number of bytes `second` bytes further on.
struct Ahead {
    const uint8_t* memory;
    int64_t per_step;
    int64_t second = 0;

    // Must be inlined early: otherwise the compiler sees a call without side effects and drops it.
    __attribute__((always_inline)) void fetch(int64_t step) const {
        fetch_lines(memory + step * per_step);
        if (second) fetch_lines(memory + second + step * per_step);
    }

 private:
    __attribute__((always_inline)) void fetch_lines(const uint8_t* line) const {
        __builtin_prefetch(line);
        __builtin_prefetch(line + 64);
        for (int64_t i = 128; i < per_step; i += 64) __builtin_prefetch(line + i);
    }
};

}  // namespace marcot
