// The micro-kernel of fast products: int8 activations times codes. Integer sums are exact in any order; each block's
// sum is scaled and added in fp32, block after block in one fixed order.
#pragma once

#include "activations.h"
#include "tile.h"
#include "unpack.h"

namespace marcot {

constexpr int kIntegerTileRows = 8 / kVectors;

// A block of a panel, as the micro-kernel reads it: unpacked before, where many tiles of rows use it, or decoded on its
// way into the registers, where there is only one tile.
template <Format F>
struct UnpackedBlock {
    const uint8_t *quads, *pairs;
    const float *scales, *minimums;

    UnpackedBlock(const IntegerPanel& panel, int64_t first, int64_t b)
        : quads(panel.codes + b * kQuads * 64),
          pairs(BlockView<F>(panel.packed, first + b).codes),
          scales(panel.scales + b * Layout<F>::kGroups * kPanel),
          minimums(panel.minimums + b * kPanel) {}
    F32 scale(int group, int v) const { return load<F32>(scales + group * kPanel + v * kLanes); }
    F32 minimum(F32, int v) const { return load<F32>(minimums + v * kLanes); }
    U8 quad(int quad, int v) const { return load<U8>(quads + quad * 64 + v * kWidth); }
    I16 pair(int pair, int v) const { return pair_codes(pairs, pair, v); }
};

template <Format F>
struct PackedBlock {
    BlockView<F> view;

    PackedBlock(const IntegerPanel& panel, int64_t first, int64_t b) : view(panel.packed, first + b) {}
    F32 scale(int group, int v) const { return group_scale<F>(view, group, v); }
    F32 minimum(F32 scale, int v) const { return group_minimum<F>(view, scale, v); }
    U8 quad(int quad, int v) const { return quad_codes<F>(view.codes, quad, v); }
    I16 pair(int pair, int v) const { return pair_codes(view.codes, pair, v); }
};

// Sums of products over one block of 8-bit codes, which the load itself widens: int16 times int16, summed in int32.
template <int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_words(const Block& block, const int16_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
#pragma GCC unroll 16
    for (int pair = 0; pair < kBlock / 2; pair++) {
        I16 w[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) w[v] = block.pair(pair, v);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++) {
            const I16 two = (I16)splat(load<int32_t>(x + r * kBlock + pair * 2));
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                sum[r][v] = pinned(pair == 0 ? dot_words(w[v], two) : add_dot_words(sum[r][v], w[v], two));
            }
        }
    }
}

// Calls use(r, v, codes, activations) for each row and vector of one quad: four columns, a byte each.
template <int Rows, typename Block, typename Use>
__attribute__((always_inline)) inline void for_quad(const Block& block, int quad, const int8_t* x, const Use& use) {
    U8 w[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) w[v] = block.quad(quad, v);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
        const U8 four = (U8)splat(load<int32_t>(x + r * kBlock + quad * 4));
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) use(r, v, w[v], four);
    }
}

// Sums of products over the quads of unsigned codes of one group, in int32.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_quads(const Block& block, int group, const int8_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
    constexpr int kGroupQuads = Layout<F>::kGroup / 4;
    const int begin = group * kGroupQuads;
#pragma GCC unroll 8
    for (int quad = begin; quad < begin + kGroupQuads; quad++)
        for_quad<Rows>(block, quad, x, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
            sum[r][v] = pinned(add_dot_quads(quad == begin ? I32{} : sum[r][v], w, four));
        });
}

// The same where only pairs of products have an instruction: as many as fit are added in int16, then all in int32.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_pairs(const Block& block, int group, const int8_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
    constexpr int kDepth = Layout<F>::kDepth, kGroupQuads = Layout<F>::kGroup / 4;
    const int begin = group * kGroupQuads;
#pragma GCC unroll 4
    for (int run = begin; run < begin + kGroupQuads; run += kDepth) {
        I16 part[Rows][kVectors];
#pragma GCC unroll 8
        for (int quad = run; quad < run + kDepth; quad++)
            for_quad<Rows>(block, quad, x, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
                const I16 product = dot_bytes(w, four);
                part[r][v] = pinned(quad == run ? product : part[r][v] + product);
            });
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const I32 wide = add_words(part[r][v]);
                sum[r][v] = pinned(run == begin ? wide : sum[r][v] + wide);
            }
    }
}

// out[r] (+)= x[row + r] * panel, over `blocks` blocks of the panel that start at block `first` of x. Meanwhile it
// fetches `ahead`, memory that is wanted next. Not inlined: on its own the compiler finds the registers.
template <Format F, int Rows, typename Block>
__attribute__((noinline)) void multiply_codes(const IntegerPanel& panel, int64_t blocks, const Activations& x,
                                              int64_t row, int64_t first, float* out, int64_t stride, Ahead ahead) {
    using L = Layout<F>;
    F32 acc[Rows][kVectors];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) acc[r][v] = first ? load<F32>(out + r * stride + v * kLanes) : F32{};
    for (int64_t b = 0, at = first * x.rows + row; b < blocks; b++, at += x.rows) {
        ahead.fetch(b);
        const Block block(panel, first, b);
        const float *scales = x.scales + at, *sums = x.sums + at;
#pragma GCC unroll 2
        for (int group = 0; group < L::kGroups; group++) {
            I32 sum[Rows][kVectors];
            if constexpr (L::kBits == 8)
                multiply_words(block, x.words + at * kBlock, sum);
            else if constexpr (MARCOT_QUAD_DOTS)
                multiply_quads<F, Rows>(block, group, x.bytes + at * kBlock, sum);
            else
                multiply_pairs<F, Rows>(block, group, x.bytes + at * kBlock, sum);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const F32 scale = block.scale(group, v);
                F32 minimum{};
                if constexpr (L::kBits <= 5) minimum = block.minimum(scale, v);
#pragma GCC unroll 8
                for (int r = 0; r < Rows; r++) {
                    I32 whole = sum[r][v];
                    if constexpr (L::kBits == 6) whole += x.centred[2 * (at + r) + group];
                    acc[r][v] = fma(to_float(whole), scale * scales[r], acc[r][v]);
                    if constexpr (L::kBits <= 5) acc[r][v] = fma(minimum, splat(sums[r]), acc[r][v]);
                }
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(out + r * stride + v * kLanes, acc[r][v]);
}

}  // namespace marcot
