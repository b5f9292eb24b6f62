// The micro-kernel of exact products: a few rows times 16 columns, both operands fp32. Every sum runs over k in order,
// one fused multiply-add after the other, and begins anew for each run of columns; sums of runs are added up for each
// stretch, those of stretches for the row. A row's result does not know which rows are beside it, and rounding errors,
// which are those of the largest number that a sum has reached, do not pile up in one sum.
#pragma once

#include <algorithm>
#include <type_traits>

#include "../simd/ahead.h"
#include "../weights/format.h"

namespace marcot {

constexpr int64_t kRunColumns = 32;       // of one sum
constexpr int64_t kExactColumns = 448;    // of a stretch: 28 KB of fp32, most of the first cache level
constexpr int kTileRows = 12 / kVectors;  // what fits 16 registers, next to a column of the panel and one value of x

// out[r][0..16) (+)= x[r][0..k) * panel[0..k)[16], with the rows of x and out anywhere. Not inlined: on its own the
// compiler keeps every sum in a register.
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
                column[v] = pinned(load<F32>(panel + i * kPanel +
                                             v * kLanes));  // in a register, not once more from memory for every row
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

// Calls use(run) with `run`, at most `Most`, as a compile-time constant.
template <int Most, int Run = Most, typename Use>
inline void with_run(int run, const Use& use) {
    if constexpr (Run > 0) {
        if (run == Run)
            use(std::integral_constant<int, Run>{});
        else
            with_run<Most, Run - 1>(run, use);
    }
}

// Splits `rows` into runs of at most `Most`, as even as possible: use(first row, constant number of rows).
template <int Most, typename Use>
inline void for_tiles(int64_t rows, const Use& use) {
    const int64_t tiles = (rows + Most - 1) / Most;
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t first = rows * t / tiles, last = rows * (t + 1) / tiles;
        with_run<Most>((int)(last - first), [&](auto run) { use(first, run); });
    }
}

}  // namespace marcot
