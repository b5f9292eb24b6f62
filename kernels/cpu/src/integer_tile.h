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
    using L = Layout<F>;
    const IntegerPanel& panel;
    const int64_t first, b;

    F32 scale(int v) const { return load<F32>(panel.scales + b / L::kSuperBlocks * kPanel + v * kLanes); }
    F32 minimum(int v) const { return load<F32>(panel.minimums + b * kPanel + v * kLanes); }
    I16 nested(int group, int v) const {
        return load<I16>(panel.nested + ((b * L::kGroups + group) * kPanel + v * kLanes) * 2);
    }
    I16 centre(int v) const { return load<I16>(panel.centres + (b * kPanel + v * kLanes) * 2); }
    U8 quad(int quad, int v) const { return load<U8>(panel.codes + (b * kQuads + quad) * 64 + v * kWidth); }
    I16 pair(int pair, int v) const { return pair_codes(BlockView<F>(panel.packed, first + b).codes, pair, v); }
};

template <Format F>
struct PackedBlock {
    const BlockView<F> view;

    PackedBlock(const IntegerPanel& panel, int64_t first, int64_t b) : view(panel.packed, first + b) {}
    F32 scale(int v) const { return super_scale<F>(view, v); }
    F32 minimum(int v) const { return block_minimum<F>(view, v); }
    I16 nested(int group, int v) const { return nested_pairs<F>(view, group, v); }
    I16 centre(int v) const { return centre_pairs<F>(view, v); }
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
    for (int v = 0; v < kVectors; v++) w[v] = pinned(block.quad(quad, v));
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
        const U8 four = (U8)splat(load<int32_t>(x + r * kBlock + quad * 4));
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) use(r, v, w[v], four);
    }
}

// sum = what centres 6-bit codes: the sums of the block's halves times the centres of their codes.
template <int Rows, typename Block>
__attribute__((always_inline)) inline void start_centred(const Block& block, const int16_t* halves,
                                                         I32 (&sum)[Rows][kVectors]) {
    I16 centre[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) centre[v] = pinned(block.centre(v));
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
        const I16 both = (I16)splat(load<int32_t>(halves + 2 * r));
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sum[r][v] = pinned(dot_words(centre[v], both));
    }
}

// A nested scale times sums of one group; 1 where the format has none.
template <Format F, typename Block>
__attribute__((always_inline)) inline I16 factor(const Block& block, int group, int v) {
    if constexpr (Layout<F>::kNested)
        return block.nested(group, v);
    else
        return 1 - I16{};
}

// sum += products over the quads of unsigned codes of one group, times its nested scale.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_quads(const Block& block, int group, const int8_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
    using L = Layout<F>;
    constexpr int kGroupQuads = L::kGroup / 4;
    const int begin = group * kGroupQuads;
    I32 part[Rows][kVectors];
#pragma GCC unroll 8
    for (int quad = begin; quad < begin + kGroupQuads; quad++)
        for_quad<Rows>(block, quad, x, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
            part[r][v] = pinned(add_dot_quads(quad == begin ? I32{} : part[r][v], w, four));
        });
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) {
            const I32 scaled = L::kNested ? part[r][v] * low_half(block.nested(group, v)) : part[r][v];
            sum[r][v] = L::kBits == 6 ? sum[r][v] + scaled : scaled;
        }
}

// The same where only pairs of products have an instruction: as many as fit are added in int16, then all in int32.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_pairs(const Block& block, int group, const int8_t* x,
                                                          I32 (&sum)[Rows][kVectors]) {
    constexpr int kDepth = Layout<F>::kDepth, kGroupQuads = Layout<F>::kGroup / 4;
    const int begin = group * kGroupQuads;
#pragma GCC unroll 4
    for (int run = begin; run < begin + kGroupQuads; run += kDepth) {
        if constexpr (kDepth == 2) {
            U8 w[2][kVectors];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++)
                w[0][v] = pinned(block.quad(run, v)), w[1][v] = pinned(block.quad(run + 1, v));
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++) {
                I16 part[kVectors];
                const U8 one = pinned((U8)splat(load<int32_t>(x + r * kBlock + run * 4)));
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) part[v] = pinned(dot_bytes(w[0][v], one));
                const U8 two = pinned((U8)splat(load<int32_t>(x + r * kBlock + run * 4 + 4)));
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) part[v] += dot_bytes(w[1][v], two);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++)
                    sum[r][v] = pinned(sum[r][v] + dot_words(part[v], factor<F>(block, group, v)));
            }
        } else {
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
                    const I32 wide = dot_words(part[r][v], factor<F>(block, group, v));
                    sum[r][v] = pinned(run == 0 ? wide : sum[r][v] + wide);
                }
        }
    }
}

// The integer sums of one block, with its nested scales; `at` is its place, for the first row, in [blocks][rows] of x.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_block(const Block& block, const Activations& x, int64_t at,
                                                          I32 (&sum)[Rows][kVectors]) {
    using L = Layout<F>;
    if constexpr (L::kBits == 8) {
        multiply_words<Rows>(block, x.words + at * kBlock, sum);
    } else {
        if constexpr (L::kBits == 6) start_centred<Rows>(block, x.halves + at * 2, sum);
#pragma GCC unroll 2
        for (int group = 0; group < L::kGroups; group++) {
            if constexpr (MARCOT_QUAD_DOTS)
                multiply_quads<F, Rows>(block, group, x.bytes + at * kBlock, sum);
            else
                multiply_pairs<F, Rows>(block, group, x.bytes + at * kBlock, sum);
        }
    }
}

// acc += x * one block of a format whose blocks have fp16 scales.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void add_block(const Block& block, const Activations& x, int64_t at,
                                                     F32 (&acc)[Rows][kVectors]) {
    I32 sum[Rows][kVectors];
    multiply_block<F, Rows>(block, x, at, sum);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
        const float* of_x = x.scales + 2 * (at + r);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) {
            acc[r][v] = fma(to_float(sum[r][v]) * of_x[0], block.scale(v), acc[r][v]);
            if constexpr (Layout<F>::kBits < 8) acc[r][v] = fma(block.minimum(v), splat(of_x[1]), acc[r][v]);
        }
    }
}

// acc += x * eight blocks below one fp16 scale. The blocks' sums come first, then the scale, then the minimums.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void add_super(const IntegerPanel& panel, int64_t first, int64_t begin,
                                                     const Activations& x, int64_t row, Ahead ahead,
                                                     F32 (&acc)[Rows][kVectors]) {
    using L = Layout<F>;
    F32 total[Rows][kVectors] = {};
    for (int64_t b = begin, at = (first + begin) * x.rows + row; b < begin + L::kSuperBlocks; b++, at += x.rows) {
        ahead.fetch(b);
        I32 sum[Rows][kVectors];
        multiply_block<F, Rows>(Block(panel, first, b), x, at, sum);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++)
                total[r][v] = fma(to_float(sum[r][v]), splat(x.scales[2 * (at + r)]), total[r][v]);
    }
    const Block head(panel, first, begin);
    F32 now[Rows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) now[r][v] = fma(head.scale(v), total[r][v], acc[r][v]);
    if constexpr (L::kMinimums)
        for (int64_t b = begin, at = (first + begin) * x.rows + row; b < begin + L::kSuperBlocks; b++, at += x.rows) {
            const Block block(panel, first, b);
            F32 minimum[kVectors];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) minimum[v] = pinned(block.minimum(v));
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++)
                    now[r][v] = fma(minimum[v], splat(x.scales[2 * (at + r) + 1]), now[r][v]);
        }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) acc[r][v] = now[r][v];
    set_aside(acc);
}

// out[r] (+)= x[row + r] * panel, over `blocks` blocks of the panel that start at block `first` of x. Meanwhile it
// fetches `ahead`, memory that is wanted next. Not inlined: on its own the compiler finds the registers.
template <Format F, int Rows, typename Block>
__attribute__((noinline)) void multiply_codes(const IntegerPanel& panel, int64_t blocks, const Activations& x,
                                              int64_t row, int64_t first, float* out, int64_t stride, Ahead ahead) {
    for (int r = 0; r < Rows; r++) __builtin_prefetch(out + r * stride, 1);
    F32 acc[Rows][kVectors];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) acc[r][v] = first ? load<F32>(out + r * stride + v * kLanes) : F32{};
    if constexpr (Layout<F>::kNested) {
        for (int64_t b = 0; b < blocks; b += Layout<F>::kSuperBlocks)
            add_super<F, Rows, Block>(panel, first, b, x, row, ahead, acc);
    } else {
        for (int64_t b = 0, at = first * x.rows + row; b < blocks; b++, at += x.rows) {
            ahead.fetch(b);
            add_block<F, Rows>(Block(panel, first, b), x, at, acc);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(out + r * stride + v * kLanes, acc[r][v]);
}

}  // namespace marcot
