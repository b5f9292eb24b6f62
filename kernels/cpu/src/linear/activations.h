// The rows that a weight is multiplied with: fp32, and int8 in blocks of 32 columns for the fast mode.
#pragma once

#include <algorithm>

#include "../simd/elementary.h"
#include "../team/team.h"
#include "../weights/format.h"

namespace marcot {

// What centres the codes of formats without minimums: -kCentre times the sum of a block's bytes.
#if MARCOT_QUAD_DOTS
// As the first addend of int32 sums, [kCentrePlanes][blocks][rows], so that a tile reads only the plane of its format:
// two for the halves of a block of 6-bit codes, then 4, 5 and 8 bits.
using Centre = int32_t;
constexpr int kCentrePlanes = 5;
constexpr int kCentresOfBlock = kCentrePlanes;
#else
// As pairs of addends of int16 sums, columns 0, 1 and 2, 3 of each quad apart, [blocks][rows][4][2]: two for the halves
// of a block of 6-bit codes, then 5 and 4 bits.
using Centre = int16_t;
constexpr int kCentresOfBlock = 8;
#endif

// `rows` rows of `columns` values, without gaps. The integer fields are filled where a section of the weight is fast;
// they keep a block of all rows together, so that the micro-kernel finds its rows at fixed distances.
struct Activations {
    const float* values;
    int64_t rows, columns;
    int64_t block_rows;  // rows from one block to the next, see rows_between_blocks
    int8_t* bytes;       // [blocks][block_rows][32], or null
    int16_t* words;      // the same numbers, for 8-bit codes in pairs
    float* scales;       // [blocks][block_rows][2]: scale, and scale * sum of the block's bytes, for minimums
    Centre* centres;     // see there

    int64_t blocks() const { return block_rows * columns / kBlock; }

    // Rows [first, first + count).
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

    // An odd number: at multiples of a power of two, the blocks of a tile would share a few sets of the cache.
    static int64_t rows_between_blocks(int64_t rows) { return rows | 1; }

    // Bytes of the integer fields.
    static int64_t integer_bytes(int64_t rows, int64_t columns) {
        const int64_t padded = rows_between_blocks(rows) * columns, blocks = padded / kBlock;
        const int64_t values = padded * (MARCOT_QUAD_DOTS ? 1 : 3);
        return values + blocks * (8 + kCentresOfBlock * (int64_t)sizeof(Centre)) + 4 * 64;
    }

    // Puts the integer fields into `memory`.
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
constexpr float kSmallestBlock = 0x1p-100f;  // blocks of smaller numbers are zeros: 127 / largest must be finite

// Writes what centres codes, from the sums of the block's bytes: over columns 0, 1 and 2, 3 of the quads of its first
// half, then of its second.
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

// A block of which every product is NaN.
inline void put_nan(const Activations& out, int64_t block) {
    std::fill_n(out.bytes + block * kBlock, kBlock, 0);
    if (out.words) std::fill_n(out.words + block * kBlock, kBlock, 0);
    put_centres(out, block, Vec<int32_t, 16>{});
    std::fill_n(out.scales + 2 * block, 2, kNaN);
}

// Rounds one block to int8 and puts it at `block`, an index into [blocks][rows]: scale = largest magnitude / 127,
// nearest integers, ties to even. A block with an infinity or a NaN gets zeros and a scale of NaN.
inline void quantize_block(const F32 (&x)[kBlockVectors], const Activations& out, int64_t block) {
    I32 most{};  // bits of magnitudes, which order like these, with infinities and NaN above all
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

// Fills the integer fields for columns [first, last) of a row, if there are such fields.
inline void quantize(const Activations& x, int64_t row, int64_t first, int64_t last) {
    if (!x.bytes) return;
    for (int64_t column = first; column < last; column += kBlock) {
        F32 values[kBlockVectors];
        for (int i = 0; i < kBlockVectors; i++) values[i] = load<F32>(x.values + row * x.columns + column + i * kLanes);
        quantize_block(values, x, column / kBlock * x.block_rows + row);
    }
}

// The same for all rows.
inline void quantize(Team& team, const Activations& x) {
    if (!x.bytes) return;
    const int64_t blocks = x.columns / kBlock;
    team.run(x.rows * blocks, 16, [&](int64_t first, int64_t last) {
        for (int64_t unit = first; unit < last; unit++) {
            const int64_t column = unit % blocks * kBlock;
            quantize(x, unit / blocks, column, column + kBlock);
        }
    });
}

}  // namespace marcot
