// The micro-kernel of fast products: int8 activations times codes. Integer sums are exact in any order; each block's
// sum is scaled and added in fp32, block after block in one fixed order.
#pragma once

#include "../weights/unpack.h"
#include "activations.h"
#include "tile.h"

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

// A nested scale times sums of one group; 1 where the format has none.
template <Format F, typename Block>
__attribute__((always_inline)) inline I16 factor(const Block& block, int group, int v) {
    if constexpr (Layout<F>::kNested)
        return block.nested(group, v);
    else
        return 1 - I16{};
}

// What centres the codes of one group, from a row of Activations::centres.
template <Format F>
__attribute__((always_inline)) inline I16 centre(const int16_t* centres, int group) {
    constexpr int kBits = Layout<F>::kBits, kFirst = kBits == 6 ? 0 : kBits == 5 ? 2 : 3;
    return (I16)splat(load<int32_t>(centres + 2 * (kFirst + group)));
}

// Sums of products over the quads of unsigned codes of one group, times its nested scale.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_quads(const Block& block, int group, const int8_t* x,
                                                          const int16_t* centres, I32 (&sum)[Rows][kVectors]) {
    using L = Layout<F>;
    constexpr int kGroupQuads = L::kGroup / 4;
    const int begin = group * kGroupQuads;
    I32 part[Rows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++)
            part[r][v] = L::kCentred ? add_words(centre<F>(centres + 8 * r, group)) : I32{};
#pragma GCC unroll 8
    for (int quad = begin; quad < begin + kGroupQuads; quad++)
        for_quad<Rows>(block, quad, x, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
            part[r][v] = pinned(add_dot_quads(part[r][v], w, four));
        });
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) {
            if constexpr (L::kNested) part[r][v] *= low_half(block.nested(group, v));
            sum[r][v] = part[r][v];
        }
}

// The same where only pairs of products have an instruction: as many as fit are added in int16, then all in int32.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void multiply_pairs(const Block& block, int group, const int8_t* x,
                                                          const int16_t* centres, I32 (&sum)[Rows][kVectors]) {
    using L = Layout<F>;
    constexpr int kGroupQuads = L::kGroup / 4;
    const int begin = group * kGroupQuads;
#pragma GCC unroll 4
    for (int run = begin; run < begin + kGroupQuads; run += L::kDepth) {
        I16 part[Rows][kVectors];
#pragma GCC unroll 8
        for (int quad = run; quad < run + L::kDepth; quad++)
            for_quad<Rows>(block, quad, x, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
                const I16 product = dot_bytes(w, four);
                if (quad > run)
                    part[r][v] = pinned(add_wrapping(part[r][v], product));
                else
                    part[r][v] =
                        pinned(L::kCentred ? add_wrapping(centre<F>(centres + 8 * r, group), product) : product);
            });
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) {
                const I32 wide = dot_words(part[r][v], factor<F>(block, group, v));
                sum[r][v] = pinned(run == begin ? wide : sum[r][v] + wide);
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
        const auto multiply_group = [&](int group, I32(&of_group)[Rows][kVectors]) __attribute__((always_inline)) {
            if constexpr (MARCOT_QUAD_DOTS)
                multiply_quads<F, Rows>(block, group, x.bytes + at * kBlock, x.centres + at * 8, of_group);
            else
                multiply_pairs<F, Rows>(block, group, x.bytes + at * kBlock, x.centres + at * 8, of_group);
        };
        if constexpr (L::kGroups == 1) {
            multiply_group(0, sum);
        } else {
            I32 first[Rows][kVectors];
            multiply_group(0, first);
            set_aside(first);
            multiply_group(1, sum);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) sum[r][v] += first[r][v];
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
            if constexpr (Layout<F>::kMinimums) acc[r][v] = fma(block.minimum(v), splat(of_x[1]), acc[r][v]);
        }
    }
}

// acc += x * eight blocks below one fp16 scale. The blocks' sums come first, then the scale, then the minimums. While
// the integers have the registers, acc waits in memory.
template <Format F, int Rows, typename Block>
__attribute__((always_inline)) inline void add_super(const IntegerPanel& panel, int64_t first, int64_t begin,
                                                     const Activations& x, int64_t row, Ahead ahead,
                                                     F32 (&acc)[Rows][kVectors]) {
    using L = Layout<F>;
    F32 total[Rows][kVectors] = {};
    for (int64_t b = begin, at = (first + begin) * x.rows + row; b < begin + L::kSuperBlocks; b++, at += x.rows) {
        ahead.fetch(b);
        I32 sum[Rows][kVectors];
        multiply_block<F, Rows>(Block{panel, first, b}, x, at, sum);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++)
                total[r][v] = fma(to_float(sum[r][v]), splat(x.scales[2 * (at + r)]), total[r][v]);
    }
    const Block head{panel, first, begin};
    F32 now[Rows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) now[r][v] = fma(head.scale(v), total[r][v], acc[r][v]);
    if constexpr (L::kMinimums)
        for (int64_t b = begin, at = (first + begin) * x.rows + row; b < begin + L::kSuperBlocks; b++, at += x.rows) {
            const Block block{panel, first, b};
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
            add_block<F, Rows>(Block{panel, first, b}, x, at, acc);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(out + r * stride + v * kLanes, acc[r][v]);
}

}  // namespace marcot
