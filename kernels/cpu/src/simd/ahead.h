// Fetching from memory while something else is done.
#pragma once

#include <cstdint>

namespace marcot {

// Memory to bring closer while something else is done: `per_step` bytes with every step.
struct Ahead {
    const uint8_t* memory;
    int64_t per_step;

    // Inlined before the compiler asks what it is for: a call that has no effect would be dropped.
    __attribute__((always_inline)) void fetch(int64_t step) const {
        const uint8_t* line = memory + step * per_step;
        __builtin_prefetch(line);
        __builtin_prefetch(line + 64);
        for (int64_t i = 128; i < per_step; i += 64) __builtin_prefetch(line + i);
    }
};

}  // namespace marcot
