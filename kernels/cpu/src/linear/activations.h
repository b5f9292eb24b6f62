// The rows that a weight is multiplied with: fp32, and int8 in blocks of 32 columns for the fast mode.
#pragma once

#include <algorithm>

#include "../simd/elementary.h"
#include "../team/team.h"
#include "../weights/format.h"

namespace marcot {

// `rows` rows of `columns` values, without gaps. The integer fields are filled where a section of the weight is fast;
// they keep a block of all rows together, so that the micro-kernel finds its rows at fixed distances.
struct Activations {
    const float* values;
    int64_t rows, columns;
    int8_t* bytes;     // [blocks][rows][32], or null
    int16_t* words;    // the same numbers, for 8-bit weights
    float* scales;     // [blocks][rows][2]: scale, and scale * sum of the block's bytes, for minimums
    int16_t* centres;  // [blocks][rows][4][2]: what centres 6-bit codes (for either half), 5-bit and 4-bit codes

    // Bytes of the integer fields.
    static int64_t integer_bytes(int64_t rows, int64_t columns) {
        const int64_t blocks = rows * columns / kBlock;
        return rows * columns * 3 + blocks * 24 + 4 * 64;
    }

    // Puts the integer fields into `memory`.
    void place(uint8_t* memory) {
        auto take = [&](int64_t bytes) {
            uint8_t* here = memory;
            memory += (bytes + 63) / 64 * 64;
            return here;
        };
        const int64_t blocks = rows * columns / kBlock;
        bytes = (int8_t*)take(rows * columns);
        words = (int16_t*)take(rows * columns * 2);
        scales = (float*)take(blocks * 8);
        centres = (int16_t*)take(blocks * 16);
    }
};

constexpr int kBlockVectors = kBlock / kLanes;
constexpr float kSmallestBlock = 0x1p-100f;  // blocks of smaller numbers are zeros: 127 / largest must be finite

// A block of which every product is NaN.
inline void put_nan(const Activations& out, int64_t block) {
    std::fill_n(out.bytes + block * kBlock, kBlock, 0);
    std::fill_n(out.words + block * kBlock, kBlock, 0);
    std::fill_n(out.centres + 8 * block, 8, 0);
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
    int16_t* words = out.words + block * kBlock;
    I32 halves[2] = {};
    for (int i = 0; i < kBlockVectors; i++) {
        const I32 rounded = (I32)(x[i] * inverse + 0x1.8p23f) - 0x4b400000;  // the addition rounds to an integer
        store_narrow(rounded, bytes + i * kLanes, words + i * kLanes);
        halves[i * kLanes / 16] += rounded;
    }
    // -kCentre times sums of bytes, two of them: as in products, columns 0, 1 and 2, 3 of each quad have their own
    // lanes.
    const Vec<int32_t, 16> sums = sums_of_pairs(halves[0], halves[1]);
    const Vec<int32_t, 16> both = {sums[0] + sums[2], sums[1] + sums[3], sums[0] + sums[2], sums[1] + sums[3]};
    const Vec<int32_t, 16> factors = {-16, -16, -8, -8};
    store(out.centres + 8 * block, __builtin_convertvector(-32 * sums, Vec<int16_t, 8>));
    store(out.centres + 8 * block + 4, __builtin_convertvector(factors * both, Vec<int16_t, 8>));
    out.scales[2 * block] = scale;
    out.scales[2 * block + 1] = scale * (float)(both[0] + both[1]);
}

// Fills the integer fields for columns [first, last) of a row, if there are such fields.
inline void quantize(const Activations& x, int64_t row, int64_t first, int64_t last) {
    if (!x.bytes) return;
    for (int64_t column = first; column < last; column += kBlock) {
        F32 values[kBlockVectors];
        for (int i = 0; i < kBlockVectors; i++) values[i] = load<F32>(x.values + row * x.columns + column + i * kLanes);
        quantize_block(values, x, column / kBlock * x.rows + row);
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
