// The micro-kernel of exact products: a few rows times a panel of 16, both in fp32. Every product is summed in a fixed
// hierarchy: columns in order within a run of kRunColumns, runs within a stretch of kExactColumns, stretches within the
// row. So a row's result does not depend on the other rows, and rounding errors, which grow with the size of a sum,
// stay small because each sum is short.
#pragma once

#include <algorithm>
#include <type_traits>

#include "../simd/ahead.h"
#include "../weights/format.h"

namespace marcot {

constexpr int64_t kRunColumns = 32;       // columns of one sum
constexpr int64_t kExactColumns = 448;    // of a stretch: 28 KB of fp32, most of the L1 cache
constexpr int kTileRows = 12 / kVectors;  // fits in 16 registers, with a column of the panel and one value of x

// out[r][0..16) (+)= x[r][0..k) * panel[0..k)[16]; rows of x and out are passed as pointers. Not inlined: compiled as a
// function by itself, every sum stays in a register.
template <int Rows>
__attribute__((noinline)) void multiply_tile(const float* const* x, int64_t k, const float* panel, bool accumulate,
                                             float* const* out, Ahead ahead) {
    const float* row[Rows];
    F32 total[Rows][kVectors];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++) {
        row[r] = x[r];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) total[r][v] = F32{};
    }
    for (int64_t i = 0; i < k;) {
        F32 acc[Rows][kVectors];
#pragma GCC unroll 12
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) acc[r][v] = F32{};
        if constexpr (!kManyRegisters) set_aside(total);
#pragma GCC unroll 4
        for (const int64_t stop = std::min(i + kRunColumns, k); i < stop; i++) {
            __builtin_prefetch(ahead.memory + i * ahead.per_step);
            F32 column[kVectors];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                column[v] = pinned(load<F32>(panel + i * kPanel + v * kLanes));  // load once, not again for every row
            }
#pragma GCC unroll 12
            for (int r = 0; r < Rows; r++) {
                const F32 value = splat(row[r][i]);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) acc[r][v] = fma(value, column[v], acc[r][v]);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) total[r][v] += acc[r][v];
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++)
            store(out[r] + v * kLanes, accumulate ? load<F32>(out[r] + v * kLanes) + total[r][v] : total[r][v]);
}

// Turns `run`, from 1 to `Most`, into a compile-time constant: calls use(constant). Does nothing for other numbers.
template <int Most, int Run = Most, typename Use>
inline void with_run(int run, const Use& use) {
    if constexpr (Run > 0) {
        if (run == Run)
            use(std::integral_constant<int, Run>{});
        else
            with_run<Most, Run - 1>(run, use);
    }
}

// Splits `rows` into tiles of at most `Most` rows, as evenly as possible, and calls use(first row, number of rows) for
// each, where the number of rows is a compile-time constant.
template <int Most, typename Use>
inline void for_tiles(int64_t rows, const Use& use) {
    const int64_t tiles = (rows + Most - 1) / Most;
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t first = rows * t / tiles, last = rows * (t + 1) / tiles;
        with_run<Most>((int)(last - first), [&](auto run) { use(first, run); });
    }
}

}  // namespace marcot
