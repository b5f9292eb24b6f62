// Fetching from memory while something else is done.
#pragma once

#include <cstdint>

namespace marcot {

// Memory to bring closer while something else is done: `per_step` bytes with every step, and as many `second` bytes
// further on, if that is not 0.
struct Ahead {
    const uint8_t* memory;
    int64_t per_step;
    int64_t second = 0;

    // Inlined before the compiler asks what it is for: a call that has no effect would be dropped.
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
