// The micro-kernel of exact products for few rows, which all fit in one tile. An unpacked panel would be read only
// once, so values are decoded straight into registers instead. It adds the same numbers in the same order as
// multiply_tile, so results are bit-identical.
#pragma once

#include <algorithm>

#include "../weights/unpack.h"
#include "activations.h"
#include "tile.h"

namespace marcot {

constexpr int kFewRows = 3;  // with four, the sums no longer fit in the registers of AVX2

// Panels processed together. A multiply-add has to wait for the previous one on the same sum, so several independent
// sums are needed to keep the multipliers busy.
template <int Rows>
constexpr int kFewPanels = Rows == 1 && kVectors < 4         ? 4 / kVectors
                           : kManyRegisters && kVectors == 1 ? 2
                                                             : 1;

// Accumulators of Rows rows times Panels panels.
template <int Rows, int Panels>
using Sums = F32[Rows][Panels][kVectors];

// Calls use(r, p, v) for each accumulator.
template <int Rows, int Panels, typename Use>
__attribute__((always_inline)) inline void for_sums(const Use& use) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int p = 0; p < Panels; p++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) use(r, p, v);
}

// acc[r][p][v] += x[r] * value, where `value` is vector v of one column of panel p.
template <int Rows, int Panels>
__attribute__((always_inline)) inline void add_column(const float* x, int64_t stride, int p, int v, F32 value,
                                                      Sums<Rows, Panels>& acc) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) acc[r][p][v] = fma(splat(x[r * stride]), value, acc[r][p][v]);
}

// acc += x * panels over the 32 columns of one block; `x` points to the first of these columns.
template <Format F, int Rows, int Panels>
__attribute__((always_inline)) inline void add_block(const uint8_t* panels, int64_t panel_bytes, int64_t index,
                                                     const float* x, int64_t stride, Sums<Rows, Panels>& acc) {
    using L = Layout<F>;
    constexpr int kQuadsOrPairs = L::kGroup / (L::kInPairs ? 2 : 4);
#pragma GCC unroll 2
    for (int group = 0; group < L::kGroups; group++) {
        F32 scale[Panels][kVectors], minimum[Panels][kVectors];
#pragma GCC unroll 4
        for (int p = 0; p < Panels; p++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const BlockView<F> block(panels + p * panel_bytes, index);
                scale[p][v] = group_scale<F>(block, group, v);
                if constexpr (!L::kInPairs) minimum[p][v] = group_minimum<F>(block, scale[p][v], v);
            }
#pragma GCC unroll 16
        for (int i = 0; i < kQuadsOrPairs; i++) {
#pragma GCC unroll 4
            for (int p = 0; p < Panels; p++)
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) {
                    const BlockView<F> block(panels + p * panel_bytes, index);
                    if constexpr (L::kInPairs) {
                        const I16 codes = pair_codes(block.codes, i, v);
                        add_column<Rows, Panels>(x + 2 * i, stride, p, v, scale[p][v] * to_float(low_half(codes)), acc);
                        add_column<Rows, Panels>(x + 2 * i + 1, stride, p, v, scale[p][v] * to_float(high_half(codes)),
                                                 acc);
                    } else {
                        const int quad = group * kQuadsOrPairs + i;
                        const I32 codes = (I32)quad_codes<F>(block.codes, quad, v);
#pragma GCC unroll 4
                        for (int k = 0; k < 4; k++)
                            add_column<Rows, Panels>(x + quad * 4 + k, stride, p, v,
                                                     fma(to_float(byte_of(codes, k)), scale[p][v], minimum[p][v]), acc);
                    }
                }
        }
    }
}

// out[r][16 * Panels] = x[r] panelsᵀ, where the panels are contiguous in memory, and `next` is what will be read next.
// Not inlined, see multiply_tile.
template <Format F, int Rows, int Panels>
__attribute__((noinline)) void multiply_few(const uint8_t* panels, const uint8_t* next, const Activations& x,
                                            float* out, int64_t stride) {
    using L = Layout<F>;
    const int64_t bytes = panel_bytes<F>(x.columns);
    const Ahead ahead{next, Panels * bytes / (x.columns / (L::kQuantized ? kBlock : 1))};
    for (int64_t first = 0; first < x.columns; first += kExactColumns) {
        const int64_t end = std::min(first + kExactColumns, x.columns);
        Sums<Rows, Panels> total = {};
        for (int64_t begin = first; begin < end; begin += kRunColumns) {
            const int64_t stop = std::min(begin + kRunColumns, end);
            Sums<Rows, Panels> acc = {};
            if constexpr (L::kQuantized) {
                for (int64_t block = begin / kBlock; block < stop / kBlock; block++) {
                    ahead.fetch(block);
                    add_block<F, Rows, Panels>(panels, bytes, block, x.values + block * kBlock, x.columns, acc);
                }
            } else {
                for (int64_t k = begin; k < stop; k++) {
                    ahead.fetch(k);
#pragma GCC unroll 4
                    for (int p = 0; p < Panels; p++)
#pragma GCC unroll 4
                        for (int v = 0; v < kVectors; v++)
                            add_column<Rows, Panels>(x.values + k, x.columns, p, v,
                                                     dense_value<F>(panels + p * bytes, k * kPanel + v * kLanes), acc);
                }
            }
            for_sums<Rows, Panels>([&](int r, int p, int v)
                                       __attribute__((always_inline)) { total[r][p][v] += acc[r][p][v]; });
        }
        for_sums<Rows, Panels>([&](int r, int p, int v) __attribute__((always_inline)) {
            float* to = out + r * stride + p * kPanel + v * kLanes;
            store(to, first ? load<F32>(to) + total[r][p][v] : total[r][p][v]);
        });
    }
}

}  // namespace marcot
