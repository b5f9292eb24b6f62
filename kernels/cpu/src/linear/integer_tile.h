// The micro-kernel of fast products: int8 activations times integer codes. The integer sum of a block is exact in any
// order. It is scaled and added to an fp32 sum, block after block in a fixed order, so results are reproducible.
#pragma once

#include "../weights/unpack.h"
#include "activations.h"
#include "tile.h"

namespace marcot {

// Numbers of rows. A tile has at most kIntegerTileRows rows if codes were unpacked beforehand. If they are decoded
// straight into registers, which is faster for up to kDecodedRows rows in total, one tile takes up to kSingleTileRows;
// more rows are split into tiles of at most kDecodedTileRows. Up to kStreamedRows rows, panels are multiplied one at a
// time: such products are limited by memory, and one stream gives a core a quarter more bandwidth than two.
//
// With 16 registers, a tile has 8 vectors of integer sums, and its fp32 sums stay in memory. Decoding a panel takes as
// long as multiplying a few rows, so decoding in the tile pays off only if there is no second tile.
//
// AVX-512 has 32 registers. VNNI multiplies on two ports. Per vector of sums and block of 32 columns, these ports
// execute 8 instructions for products and 2 for scaling (3 in 6-bit formats, whose blocks have two nested scales), so
// no tile can exceed 80 % (73 %) of their peak. Six rows times two vectors: their 12 integer and 12 fp32 sums stay in
// registers, next to two vectors of codes and one of activations, and loads, two per cycle, take 40 of the 60 cycles of
// a block. With one vector instead of two, each broadcast value would be used only once, and loads would be the limit.
// Decoding runs in parallel: its shifts and masks use the other two ports, and packed codes are half the bytes to read.
// Tiles that decode have 7 rows, whose sums just fit; a single tile may have 8, and keeps some sums in memory. In 6-bit
// formats, sums are in memory anyway, and fewer tiles mean less decoding (measured on Zen 5).
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
constexpr int kIntegerTileRows = 6;
constexpr int kSingleTileRows = 8;
template <Format F>
constexpr int kDecodedTileRows = Layout<F>::kBits == 6 ? 8 : 7;
constexpr int64_t kDecodedRows = 32;
constexpr int64_t kStreamedRows = 4;
#else
constexpr int kIntegerTileRows = 8 / kTileVectors;
constexpr int kSingleTileRows = kIntegerTileRows;
template <Format F>
constexpr int kDecodedTileRows = kIntegerTileRows;
constexpr int64_t kDecodedRows = kIntegerTileRows;
constexpr int64_t kStreamedRows = 1;
#endif

// One block of the panels, as the micro-kernel reads it. UnpackedBlock reads codes that were unpacked beforehand,
// PackedBlock decodes them straight into registers. Both have the same interface.
template <Format F>
struct UnpackedBlock {
    using L = Layout<F>;
    const IntegerPanels& panels;
    const int64_t first, b;

    F32 scale(int v) const { return load<F32>(panels.scales + at(b / L::kSuperBlocks, v)); }
    F32 minimum(int v) const { return load<F32>(panels.minimums + at(b, v)); }
    Factor nested(int group, int v) const { return load<Factor>(panels.nested + at(b * L::kGroups + group, v)); }
    U8 quad(int quad, int v) const { return load<U8>(panels.codes + at(b * kQuads + quad, v) * 4); }
    I16 pair(int pair, int v) const {
        return pair_codes(BlockView<F>(panels.panel(v), first + b).codes, pair, v % kVectors);
    }

 private:
    static int64_t at(int64_t row, int v) { return (row * kTileVectors + v) * kLanes; }
};

template <Format F>
struct PackedBlock {
    const IntegerPanels& panels;
    const int64_t first, b;

    F32 scale(int v) const { return super_scale<F>(view(v), v % kVectors); }
    F32 minimum(int v) const { return block_minimum<F>(view(v), v % kVectors); }
    Factor nested(int group, int v) const { return nested_factor<F>(view(v), group, v % kVectors); }
    U8 quad(int quad, int v) const { return integer_quad<F>(view(v).codes, quad, v % kVectors); }
    I16 pair(int pair, int v) const { return pair_codes(view(v).codes, pair, v % kVectors); }

 private:
    BlockView<F> view(int v) const { return {panels.panel(v), first + b}; }
};

// Calls use(r, v, codes, activations) for each row and vector of one quad: four columns, one byte per column.
template <int Rows, int Vectors, typename Block, typename Use>
__attribute__((always_inline)) inline void for_quad(const Block& block, int quad, const int8_t* x, const Use& use) {
    U8 w[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) w[v] = pinned(block.quad(quad, v));
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
        const U8 four = (U8)splat(load<int32_t>(x + r * kBlock + quad * 4));
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) use(r, v, w[v], four);
    }
}

#if MARCOT_QUAD_DOTS
using BlockSum = F32;  // of multiply_block

// The centres of one group, for the row at index `at` of [blocks][block_rows] of x and the rows after it.
template <Format F>
__attribute__((always_inline)) inline const Centre* centres_of(const Activations& x, int64_t at, int group) {
    constexpr int kBits = Layout<F>::kBits, kPlane = kBits == 6 ? 0 : kBits == 4 ? 2 : kBits == 5 ? 3 : 4;
    return x.centres + (kPlane + group) * x.blocks() + at;
}

// Sums of products over the quads of one group. They stay in an array that is never passed to set_aside, so that the
// compiler keeps them in registers.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void multiply_group(const Block& block, int group, const Activations& x,
                                                          int64_t at, I32 (&sum)[Rows][Vectors]) {
    constexpr int kGroupQuads = Layout<F>::kGroup / 4;
    const int begin = group * kGroupQuads;
    const Centre* centres = centres_of<F>(x, at, group);
    const int8_t* bytes = x.bytes + at * kBlock;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            if constexpr (Layout<F>::kCentred)
                sum[r][v] = splat(centres[r]);
            else
                sum[r][v] = I32{};
        }
#pragma GCC unroll 8
    for (int quad = begin; quad < begin + kGroupQuads; quad++)
        for_quad<Rows, Vectors>(block, quad, bytes, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
            sum[r][v] = pinned(add_dot_quads(sum[r][v], w, four));
        });
}

// The sums of one block, with its nested scales applied. `at` is the index of the first row and this block in
// [blocks][block_rows] of x. The sums are integers below 2^24 (in 6-bit formats: two groups of 16 codes, at most 32
// from their centre, times 127, times a scale of at most 128), so fp32 holds them exactly, and one fused instruction
// scales and adds.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void multiply_block(const Block& block, const Activations& x, int64_t at,
                                                          F32 (&sum)[Rows][Vectors]) {
    using L = Layout<F>;
    I32 part[Rows][Vectors];
    F32 first[Rows][Vectors];
    if constexpr (L::kGroups == 2) {
        multiply_group<F, Rows, Vectors>(block, 0, x, at, part);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            const F32 scale = block.nested(0, v);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++) first[r][v] = to_float(part[r][v]) * scale;
        }
        if constexpr (!kManyRegisters || Rows > kIntegerTileRows) set_aside(first);
    }
    multiply_group<F, Rows, Vectors>(block, L::kGroups - 1, x, at, part);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) {
        F32 scale = splat(1.f);
        if constexpr (L::kNested) scale = block.nested(L::kGroups - 1, v);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++) {
            const F32 value = to_float(part[r][v]);
            sum[r][v] = L::kGroups == 2 ? fma(value, scale, first[r][v]) : L::kNested ? value * scale : value;
        }
    }
}
#else
using BlockSum = I32;  // of multiply_block

// Sums of products over one block of 8-bit codes in pairs. The load widens the codes, so products are int16 times
// int16, summed in int32.
template <int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void multiply_words(const Block& block, const int16_t* x,
                                                          I32 (&sum)[Rows][Vectors]) {
#pragma GCC unroll 16
    for (int pair = 0; pair < kBlock / 2; pair++) {
        I16 w[Vectors];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) w[v] = block.pair(pair, v);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++) {
            const I16 two = (I16)splat(load<int32_t>(x + r * kBlock + pair * 2));
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) {
                sum[r][v] = pinned(pair == 0 ? dot_words(w[v], two) : sum[r][v] + dot_words(w[v], two));
            }
        }
    }
}

// The nested scale of one group; 1 if the format has none.
template <Format F, typename Block>
__attribute__((always_inline)) inline I16 factor(const Block& block, int group, int v) {
    if constexpr (Layout<F>::kNested)
        return block.nested(group, v);
    else
        return 1 - I16{};
}

// The centres of one group, a pair of int16 per row, for the row at index `at` and the rows after it.
template <Format F>
__attribute__((always_inline)) inline const Centre* centres_of(const Activations& x, int64_t at, int group) {
    constexpr int kBits = Layout<F>::kBits, kFirst = kBits == 6 ? 0 : kBits == 5 ? 2 : 3;
    return x.centres + kCentresOfBlock * at + 2 * (kFirst + group);
}

// The same for machines that only have an instruction for pairs of products: sums run in int16 for as many quads as
// fit, and are then added up in int32.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void multiply_group(const Block& block, int group, const Activations& x,
                                                          int64_t at, I32 (&sum)[Rows][Vectors]) {
    using L = Layout<F>;
    constexpr int kGroupQuads = L::kGroup / 4;
    const int begin = group * kGroupQuads;
    const Centre* centres = centres_of<F>(x, at, group);
    const int8_t* bytes = x.bytes + at * kBlock;
#pragma GCC unroll 4
    for (int run = begin; run < begin + kGroupQuads; run += L::kDepth) {
        I16 part[Rows][Vectors];
#pragma GCC unroll 8
        for (int quad = run; quad < run + L::kDepth; quad++)
            for_quad<Rows, Vectors>(
                block, quad, bytes, [&](int r, int v, U8 w, U8 four) __attribute__((always_inline)) {
                    const I16 product = dot_bytes(w, four);
                    if (quad > run)
                        part[r][v] = pinned(add_wrapping(part[r][v], product));
                    else
                        part[r][v] =
                            pinned(L::kCentred
                                       ? add_wrapping((I16)splat(load<int32_t>(centres + kCentresOfBlock * r)), product)
                                       : product);
                });
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) {
                const I32 wide = dot_words(part[r][v], factor<F>(block, group, v));
                sum[r][v] = pinned(run == begin ? wide : sum[r][v] + wide);
            }
    }
}

// The integer sums of one block, with its nested scales applied. `at` is the index of the first row and this block in
// [blocks][block_rows] of x.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void multiply_block(const Block& block, const Activations& x, int64_t at,
                                                          I32 (&sum)[Rows][Vectors]) {
    using L = Layout<F>;
    if constexpr (L::kInPairs) {
        multiply_words<Rows, Vectors>(block, x.words + at * kBlock, sum);
    } else {
        if constexpr (L::kGroups == 1) {
            multiply_group<F, Rows, Vectors>(block, 0, x, at, sum);
        } else {
            I32 first[Rows][Vectors];
            multiply_group<F, Rows, Vectors>(block, 0, x, at, first);
            set_aside(first);
            multiply_group<F, Rows, Vectors>(block, 1, x, at, sum);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; v++) sum[r][v] += first[r][v];
        }
    }
}
#endif

// A sum of multiply_block, as fp32.
inline F32 sum_value(BlockSum sum) {
    if constexpr (MARCOT_QUAD_DOTS)
        return (F32)sum;
    else
        return to_float((I32)sum);
}

// acc += x * block, for formats in which every block has an fp16 scale.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void add_block(const Block& block, const Activations& x, int64_t at,
                                                     F32 (&acc)[Rows][Vectors]) {
    BlockSum sum[Rows][Vectors];
    multiply_block<F, Rows, Vectors>(block, x, at, sum);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
        const float* of_x = x.scales + 2 * (at + r);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            acc[r][v] = fma(sum_value(sum[r][v]) * of_x[0], block.scale(v), acc[r][v]);
            if constexpr (Layout<F>::kMinimums) acc[r][v] = fma(block.minimum(v), splat(of_x[1]), acc[r][v]);
        }
    }
}

// acc += x * eight blocks that share one fp16 scale (nested formats). It adds up the blocks' sums, then applies the
// scale, then adds the minimums. Meanwhile acc stays in memory, so that the integer sums can have the registers.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((always_inline)) inline void add_super(const IntegerPanels& panels, int64_t first, int64_t begin,
                                                     const Activations& x, int64_t row, Ahead ahead,
                                                     F32 (&acc)[Rows][Vectors]) {
    using L = Layout<F>;
    F32 total[Rows][Vectors] = {};
    for (int64_t b = begin, at = (first + begin) * x.block_rows + row; b < begin + L::kSuperBlocks;
         b++, at += x.block_rows) {
        ahead.fetch(b);
        BlockSum sum[Rows][Vectors];
        multiply_block<F, Rows, Vectors>(Block{panels, first, b}, x, at, sum);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++)
                total[r][v] = fma(sum_value(sum[r][v]), splat(x.scales[2 * (at + r)]), total[r][v]);
    }
    const Block head{panels, first, begin};
    F32 now[Rows][Vectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) now[r][v] = fma(head.scale(v), total[r][v], acc[r][v]);
    if constexpr (L::kMinimums)
        for (int64_t b = begin, at = (first + begin) * x.block_rows + row; b < begin + L::kSuperBlocks;
             b++, at += x.block_rows) {
            const Block block{panels, first, b};
            F32 minimum[Vectors];
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) minimum[v] = pinned(block.minimum(v));
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; v++)
                    now[r][v] = fma(minimum[v], splat(x.scales[2 * (at + r) + 1]), now[r][v]);
        }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) acc[r][v] = now[r][v];
    set_aside(acc);
}

// out[r] (+)= x[row + r] * the first `Vectors` vectors of the panels, over `blocks` blocks from block `first` of x on.
// It adds to `out` unless `first` is 0. Meanwhile it prefetches `ahead`, the memory needed next. Not inlined: compiled
// as a function by itself, everything fits in registers.
template <Format F, int Rows, int Vectors, typename Block>
__attribute__((noinline)) void multiply_codes(const IntegerPanels& panels, int64_t blocks, const Activations& x,
                                              int64_t row, int64_t first, float* out, int64_t stride, Ahead ahead) {
    for (int r = 0; r < Rows; r++) __builtin_prefetch(out + r * stride, 1);
    F32 acc[Rows][Vectors];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) acc[r][v] = first ? load<F32>(out + r * stride + v * kLanes) : F32{};
    if constexpr (Layout<F>::kNested) {
        for (int64_t b = 0; b < blocks; b += Layout<F>::kSuperBlocks)
            add_super<F, Rows, Vectors, Block>(panels, first, b, x, row, ahead, acc);
    } else {
        for (int64_t b = 0, at = first * x.block_rows + row; b < blocks; b++, at += x.block_rows) {
            ahead.fetch(b);
            add_block<F, Rows, Vectors>(Block{panels, first, b}, x, at, acc);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) store(out + r * stride + v * kLanes, acc[r][v]);
}

}  // namespace marcot
