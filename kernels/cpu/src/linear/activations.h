// Activations, the rows that a weight is multiplied with: in fp32 and, for fast mode, quantised to int8 in blocks of 32
// columns.
#pragma once

#include <algorithm>

#include "../simd/elementary.h"
#include "../team/team.h"
#include "../weights/format.h"

namespace marcot {

// Centres replace subtracting kCentre from every code of a format without minimums: sum((code - kCentre) * byte) is
// sum(code * byte) - kCentre * sum(byte), and a centre is the second term, computed once per block of activations.
#if MARCOT_QUAD_DOTS
// Here, int32 sums start at the centre. Stored as [kCentrePlanes][blocks][rows], so that a tile reads only the plane of
// its format: two planes for the halves of a block of 6-bit codes, then one each for 4, 5 and 8 bits.
using Centre = int32_t;
constexpr int kCentrePlanes = 5;
constexpr int kCentresOfBlock = kCentrePlanes;
#else
// Here, int16 sums start at the centre. They come in pairs, for columns 0, 1 and columns 2, 3 of each quad, so centres
// do too. Stored as [blocks][rows][4][2]: two pairs for the halves of a block of 6-bit codes, then 5 and 4 bits.
using Centre = int16_t;
constexpr int kCentresOfBlock = 8;
#endif

// `rows` contiguous rows of `columns` values. The integer fields are used if any section of the weight is fast. They
// are ordered by block, then by row, so that the micro-kernel finds the same block of its rows at fixed distances.
struct Activations {
    const float* values;
    int64_t rows, columns;
    int64_t block_rows;  // rows from one block to the next, see rows_between_blocks
    int8_t* bytes;       // [blocks][block_rows][32], or null
    int16_t* words;      // the same numbers as int16, for 8-bit codes in pairs
    float* scales;    // [blocks][block_rows][2]: scale; scale * (sum of the block's bytes), for formats with minimums
    Centre* centres;  // see Centre

    int64_t blocks() const { return block_rows * columns / kBlock; }

    // A view of rows [first, first + count).
    Activations part(int64_t first, int64_t count) const {
        Activations part = *this;
        part.values += first * columns;
        part.rows = count;
        if (!bytes) return part;
        part.bytes += first * kBlock;
        if (words) part.words += first * kBlock;
        part.scales += 2 * first;
        part.centres += first * (MARCOT_QUAD_DOTS ? 1 : kCentresOfBlock);
        return part;
    }

    // `rows`, rounded up to an odd number: if the distance between blocks were a multiple of a large power of two, the
    // blocks of a tile would compete for a few sets of the cache.
    static int64_t rows_between_blocks(int64_t rows) { return rows | 1; }

    // Bytes of memory that the integer fields need.
    static int64_t integer_bytes(int64_t rows, int64_t columns) {
        const int64_t padded = rows_between_blocks(rows) * columns, blocks = padded / kBlock;
        const int64_t values = padded * (MARCOT_QUAD_DOTS ? 1 : 3);
        return values + blocks * (8 + kCentresOfBlock * (int64_t)sizeof(Centre)) + 4 * 64;
    }

    // Lays out the integer fields in `memory`, without filling them.
    void place(uint8_t* memory) {
        auto take = [&](int64_t bytes) {
            uint8_t* here = memory;
            memory += (bytes + 63) / 64 * 64;
            return here;
        };
        bytes = (int8_t*)take(block_rows * columns);
        words = (int16_t*)(MARCOT_QUAD_DOTS ? nullptr : take(block_rows * columns * 2));
        scales = (float*)take(blocks() * 8);
        centres = (Centre*)take(blocks() * kCentresOfBlock * sizeof(Centre));
    }
};

constexpr int kBlockVectors = kBlock / kLanes;
constexpr float kSmallestBlock = 0x1p-100f;  // smaller blocks become zeros, as 127 / largest must be finite

// Writes the centres of a block. `sums` are four sums of its bytes: over columns 0, 1 and columns 2, 3 of the quads in
// its first half, then the same for its second half.
inline void put_centres(const Activations& out, int64_t block, Vec<int32_t, 16> sums) {
#if MARCOT_QUAD_DOTS
    const int32_t first = sums[0] + sums[1], second = sums[2] + sums[3];
    const int32_t centres[kCentrePlanes] = {-32 * first, -32 * second, -8 * (first + second), -16 * (first + second),
                                            -128 * (first + second)};
    for (int plane = 0; plane < kCentrePlanes; plane++) out.centres[plane * out.blocks() + block] = centres[plane];
#else
    const Vec<int32_t, 16> both = {sums[0] + sums[2], sums[1] + sums[3], sums[0] + sums[2], sums[1] + sums[3]};
    const Vec<int32_t, 16> factors = {-16, -16, -8, -8};
    store(out.centres + kCentresOfBlock * block, __builtin_convertvector(-32 * sums, Vec<int16_t, 8>));
    store(out.centres + kCentresOfBlock * block + 4, __builtin_convertvector(factors * both, Vec<int16_t, 8>));
#endif
}

// Fills a block so that every product with it is NaN.
inline void put_nan(const Activations& out, int64_t block) {
    std::fill_n(out.bytes + block * kBlock, kBlock, 0);
    if (out.words) std::fill_n(out.words + block * kBlock, kBlock, 0);
    put_centres(out, block, Vec<int32_t, 16>{});
    std::fill_n(out.scales + 2 * block, 2, kNaN);
}

// Quantises one block to int8 and stores it at index `block` of [blocks][rows]: scale = largest magnitude / 127, values
// rounded to the nearest integer, ties to even. A block with an infinity or a NaN gets zeros and a scale of NaN.
inline void quantize_block(const F32 (&x)[kBlockVectors], const Activations& out, int64_t block) {
    I32 most{};  // magnitudes as integers: same order as the floats, with infinities and NaN largest
    for (const F32& v : x) {
        const I32 magnitude = (I32)v & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    const int32_t most_bits = horizontal_max(most);
    if (most_bits >= 0x7f800000) return put_nan(out, block);
    const float largest = load<float>(&most_bits);
    const bool zero = largest < kSmallestBlock;
    const F32 inverse = splat(zero ? 0.f : 127 / largest);
    const float scale = zero ? 0.f : largest / 127;
    int8_t* bytes = out.bytes + block * kBlock;
    int16_t* words = out.words ? out.words + block * kBlock : nullptr;
    I32 halves[2] = {};
    for (int i = 0; i < kBlockVectors; i++) {
        const I32 rounded = (I32)(x[i] * inverse + 0x1.8p23f) - 0x4b400000;  // the addition rounds to an integer
        store_bytes(rounded, bytes + i * kLanes);
        if constexpr (!MARCOT_QUAD_DOTS) store_words(rounded, words + i * kLanes);
        halves[i * kLanes / 16] += rounded;
    }
    const Vec<int32_t, 16> sums = sums_of_pairs(halves[0], halves[1]);
    put_centres(out, block, sums);
    out.scales[2 * block] = scale;
    out.scales[2 * block + 1] = scale * (float)(sums[0] + sums[1] + sums[2] + sums[3]);
}

// Quantises `count` values of row `row` from column `first` on, if `out` has integer fields.
inline void quantize(const float* values, int64_t count, const Activations& out, int64_t row, int64_t first) {
    if (!out.bytes) return;
    for (int64_t at = 0; at < count; at += kBlock) {
        F32 block[kBlockVectors];
        for (int i = 0; i < kBlockVectors; i++) block[i] = load<F32>(values + at + i * kLanes);
        quantize_block(block, out, (first + at) / kBlock * out.block_rows + row);
    }
}

// Quantises all rows, if `x` has integer fields.
inline void quantize(Team& team, const Activations& x) {
    if (!x.bytes) return;
    const int64_t blocks = x.columns / kBlock;
    team.run(x.rows * blocks, 16, [&](int64_t first, int64_t last) {
        for (int64_t unit = first; unit < last; unit++) {
            const int64_t row = unit / blocks, column = unit % blocks * kBlock;
            quantize(x.values + row * x.columns + column, kBlock, x, row, column);
        }
    });
}

}  // namespace marcot
