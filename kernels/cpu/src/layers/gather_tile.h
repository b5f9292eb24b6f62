// The micro-kernel of attention's second pass: a few rows of probabilities times a run of V.
#pragma once

#include <algorithm>

#include "../weights/format.h"

namespace marcot::attention {

constexpr int64_t kCacheLine = 64 / sizeof(float);  // in floats
constexpr int64_t kRunPages = 4;                    // 64 tokens of V: 16 KB with a head_dim of 64
constexpr int64_t kRunTokens = kRunPages * kPanel;  // tokens of one sum; runs begin at multiples of this position

// Vectors of V that are multiplied together. With AVX-512, there are two, so that each broadcast probability is used
// twice: with one, the loads would take longer than the multiply-adds.
constexpr int kWideVectors = kVectors == 1 ? 2 : kVectors;

// Where the sum of a query goes. Until the run is complete, it is kept in `run`; after the last token of the run, it is
// added to `out`, and `run` is reset to zero.
struct Target {
    float *run, *out;
    bool ends;
};

// Adds p[r][first..end) * V to `Vectors` vectors of each target from dimension d on, where slot s is in pages[s / 16].
// With `Fetch`, it also prefetches the same dimensions of the pages kRunPages further on. Not inlined, see
// multiply_tile.
template <int Rows, int Vectors, bool Fetch>
__attribute__((noinline)) void gather_tile(const float* const* p, int64_t first, int64_t end, const float* const* pages,
                                           int64_t dim, int64_t d, const Target* targets) {
    const float* weights[Rows];
    F32 acc[Rows][Vectors];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++) {
        weights[r] = p[r];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) acc[r][v] = load<F32>(targets[r].run + d + v * kLanes);
    }
    for (int64_t slot = first; slot < end;) {
        const int64_t offset = slot % kPanel * dim + d;
        const float* values = pages[slot / kPanel] + offset;
        const float* next = pages[slot / kPanel + kRunPages] + offset;
        const int64_t stop = std::min(end, (slot / kPanel + 1) * kPanel);
        for (; slot < stop; slot++, values += dim, next += dim) {
            if constexpr (Fetch) {
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; v += kVectors) __builtin_prefetch(next + v * kLanes);
            }
            F32 value[Vectors];
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) value[v] = pinned(load<F32>(values + v * kLanes));
#pragma GCC unroll 12
            for (int r = 0; r < Rows; r++) {
                const F32 weight = splat(weights[r][slot]);
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; v++) acc[r][v] = fma(weight, value[v], acc[r][v]);
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            float *run = targets[r].run + d + v * kLanes, *out = targets[r].out + d + v * kLanes;
            store(run, targets[r].ends ? F32{} : acc[r][v]);
            if (targets[r].ends) store(out, load<F32>(out) + acc[r][v]);
        }
}

}  // namespace marcot::attention
