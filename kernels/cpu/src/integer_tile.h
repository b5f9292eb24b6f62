// The micro-kernel of fast products: int8 activations times codes. Integer sums are exact in any order; each block's
// sum is scaled and added in fp32, block after block in one fixed order.
#pragma once

#include "activations.h"
#include "tile.h"
#include "unpack.h"

namespace marcot {

constexpr int kIntegerTileRows = 8 / kVectors;

// Sums of products over one block of 8-bit codes, which the load itself widens: int16 times int16, summed in int32.
template <int Rows>
__attribute__((always_inline)) inline void multiply_words(const uint8_t* codes, const int16_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
#pragma GCC unroll 16
    for (int pair = 0; pair < kBlock / 2; pair++) {
        I16 w[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) w[v] = pair_codes(codes, pair, v);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++) {
            const I16 two = (I16)splat(load<int32_t>(x + r * kBlock + pair * 2));
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const I32 product = dot_words(w[v], two);
                sum[r][v] = pair == 0 ? product : sum[r][v] + product;
                pin(sum[r][v]);
            }
        }
    }
}

// Sums of products over `Quads` quads of unsigned codes: as many as fit are added in int16, then all in int32.
template <Format F, int Rows, int Quads>
__attribute__((always_inline)) inline void multiply_bytes(const uint8_t* codes, const int8_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
    constexpr int kDepth = Layout<F>::kDepth;
#pragma GCC unroll 4
    for (int run = 0; run < Quads; run += kDepth) {
        I16 part[Rows][kVectors];
#pragma GCC unroll 8
        for (int quad = run; quad < run + kDepth; quad++) {
            U8 w[kVectors];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) w[v] = load<U8>(codes + quad * 64 + v * kWidth);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++) {
                const U8 four = (U8)splat(load<int32_t>(x + r * kBlock + quad * 4));
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) {
                    const I16 product = dot_bytes(w[v], four);
                    part[r][v] = quad == run ? product : part[r][v] + product;
                    pin(part[r][v]);
                }
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const I32 wide = add_words(part[r][v]);
                sum[r][v] = run == 0 ? wide : sum[r][v] + wide;
                pin(sum[r][v]);
            }
    }
}

// out[r] (+)= x[row + r] * panel, over `blocks` blocks of the panel that start at block `first` of x. Meanwhile it
// fetches `ahead`, memory that is wanted next. Not inlined: on its own the compiler finds the registers.
template <Format F, int Rows>
__attribute__((noinline)) void multiply_codes(const IntegerPanel& panel, int64_t blocks, const Activations& x,
                                              int64_t row, int64_t first, float* out, int64_t stride, Ahead ahead) {
    using L = Layout<F>;
    const int64_t begin = first * x.rows + row;
    const float* weight_scales = panel.scales;
    const float* minimums = panel.minimums;
    F32 acc[Rows][kVectors];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) acc[r][v] = first ? load<F32>(out + r * stride + v * kLanes) : F32{};
    for (int64_t b = 0, at = begin; b < blocks; b++, at += x.rows) {
        ahead.fetch(b);
        const uint8_t* codes = panel.codes + b * kQuads * 64;
        const float* scales = x.scales + at;
        if constexpr (L::kBits == 8) {
            I32 sum[Rows][kVectors];
            multiply_words(BlockView<F>(panel.packed, first + b).codes, x.words + at * kBlock, sum);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const F32 scale = load<F32>(weight_scales + v * kLanes);
#pragma GCC unroll 8
                for (int r = 0; r < Rows; r++) acc[r][v] = fma(to_float(sum[r][v]), scale * scales[r], acc[r][v]);
            }
        } else if constexpr (L::kGroups == 2) {
            const int32_t* centred = x.centred + 2 * at;
#pragma GCC unroll 2
            for (int group = 0; group < 2; group++) {
                I32 sum[Rows][kVectors];
                multiply_bytes<F, Rows, kQuads / 2>(codes + group * kQuads / 2 * 64,
                                                    x.bytes + at * kBlock + group * kBlock / 2, sum);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) {
                    const F32 scale = load<F32>(weight_scales + group * kPanel + v * kLanes);
#pragma GCC unroll 8
                    for (int r = 0; r < Rows; r++) {
                        const I32 whole = sum[r][v] + centred[2 * r + group];
                        acc[r][v] = fma(to_float(whole), scale * scales[r], acc[r][v]);
                    }
                }
            }
        } else {
            const float* sums = x.sums + at;
            I32 sum[Rows][kVectors];
            multiply_bytes<F, Rows, kQuads>(codes, x.bytes + at * kBlock, sum);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const F32 scale = load<F32>(weight_scales + v * kLanes);
                const F32 minimum = load<F32>(minimums + v * kLanes);
#pragma GCC unroll 8
                for (int r = 0; r < Rows; r++) {
                    acc[r][v] = fma(to_float(sum[r][v]), scale * scales[r], acc[r][v]);
                    acc[r][v] = fma(minimum, splat(sums[r]), acc[r][v]);
                }
            }
        }
        weight_scales += L::kGroups * kPanel;
        minimums += kPanel;
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(out + r * stride + v * kLanes, acc[r][v]);
}

}  // namespace marcot
