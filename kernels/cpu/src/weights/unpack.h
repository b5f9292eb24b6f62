// Unpacks panels into what the micro-kernels read: fp32 columns, or integer codes with fp32 scales.
#pragma once

#include "../simd/ahead.h"
#include "format.h"

namespace marcot {

// Pointers to the parts of one block of a quantised panel.
template <Format F>
struct BlockView {
    using L = Layout<F>;
    const uint8_t* header;
    const uint8_t* scales;
    const uint8_t* codes;

    BlockView(const uint8_t* panel, int64_t block) {
        header = panel + block * kBlock / L::kSuper * L::kSuperBytes;
        scales = header + L::kHeader + block % L::kSuperBlocks * L::kBlockBytes;
        codes = scales + L::kScales;
    }
};

// The fp16 scales in the header of the block, as fp32, for the rows of vector `v`.
template <Format F>
inline F32 super_scale(const BlockView<F>& block, int v) {
    return load_f16(block.header + v * kWidth / 2);
}

// Nested scales of column group `group` of a block, for the rows of vector `v`.
template <Format F>
inline I32 nested_scale(const BlockView<F>& block, int group, int v) {
    const uint8_t* nested = block.scales + group * kPanel + v * kLanes;
    if constexpr (Layout<F>::kGroups == 2)
        return load_i8(nested);
    else
        return load_u8(nested);
}

template <Format F>
inline F32 group_scale(const BlockView<F>& block, int group, int v) {
    const F32 scale = super_scale<F>(block, v);
    if constexpr (Layout<F>::kNested)
        return scale * to_float(nested_scale<F>(block, group, v));
    else
        return scale;
}

// The stored minimums, which are added to scale * code.
template <Format F>
inline F32 block_minimum(const BlockView<F>& block, int v) {
    const F32 minimum = load_f16(block.header + 32 + v * kWidth / 2);
    if constexpr (Layout<F>::kNested)
        return -minimum * to_float(load_u8(block.scales + kPanel + v * kLanes));
    else
        return minimum;
}

// The number to add to scale * code: the stored minimum, or -kCentre * scale in formats without minimums.
template <Format F>
inline F32 group_minimum(const BlockView<F>& block, F32 scale, int v) {
    if constexpr (Layout<F>::kMinimums)
        return block_minimum<F>(block, v);
    else
        return scale * (float)-Layout<F>::kCentre;
}

// Nested scales, as integer products need them: sums of quads are scaled in fp32, pairs of int16 by a pair of the same.
#if MARCOT_QUAD_DOTS
using Factor = F32;
#else
using Factor = I16;
#endif

template <Format F>
inline Factor nested_factor(const BlockView<F>& block, int group, int v) {
    const I32 scale = nested_scale<F>(block, group, v);
    if constexpr (MARCOT_QUAD_DOTS)
        return (Factor)to_float(scale);
    else
        return (Factor)((scale & 0xffff) | scale << 16);
}

// The bits of `mask` of every byte of `codes`, an address, shifted right by `places`.
inline U8 shifted_bits(const uint8_t* codes, int places, uint8_t mask) {
    return (U8)((U16)load<U8>(codes) >> places) & mask;
}

// The codes of one quad for the rows of vector `v`: four bytes per row.
template <Format F>
inline U8 quad_codes(const uint8_t* codes, int quad, int v) {
    constexpr int kBits = Layout<F>::kBits;
    const auto bits = [&](int chunk, int places, uint8_t mask) __attribute__((always_inline)) {
        return shifted_bits(codes + chunk * 64 + v * kWidth, places, mask);
    };
    if constexpr (kBits == 8) return load<U8>(codes + quad * 64 + v * kWidth);
    if constexpr (kBits == 4) return bits(quad / 2, quad % 2 * 4, 15);
    if constexpr (kBits == 5) {
        if (quad < 5) return bits(quad, 0, 31);
        if (quad < 7) return bits(2 * quad - 10, 5, 7) | bits(2 * quad - 9, 3, 24);
        return bits(4, 5, 7) | bits(1, 2, 8) | bits(3, 1, 16);
    }
    if constexpr (kBits == 6) {
        const int chunk = quad / 4 * 3;
        if (quad % 4 < 3) return bits(chunk + quad % 4, 0, 63);
        return bits(chunk, 6, 3) | bits(chunk + 1, 4, 12) | bits(chunk + 2, 2, 48);
    }
}

// The same, signed or unsigned as the integer product instruction requires.
template <Format F>
inline U8 integer_quad(const uint8_t* codes, int quad, int v) {
    const U8 unsigned_codes = quad_codes<F>(codes, quad, v);
    return Layout<F>::kBits == 8 && kSignedQuads ? unsigned_codes ^ 0x80 : unsigned_codes;
}

// The 8-bit codes of one pair of columns for the rows of vector `v`, widened to int16.
inline I16 pair_codes(const uint8_t* codes, int pair, int v) {
    return load_i8_words(codes + pair * 2 * kPanel + v * kWidth / 2);
}

// Values [index, index + kLanes) of a dense panel, as fp32.
template <Format F>
inline F32 dense_value(const uint8_t* panel, int64_t index) {
    const auto* value = (const typename Layout<F>::Bits*)panel + index;
    if constexpr (F == Format::F32)
        return load<F32>(value);
    else if constexpr (F == Format::BF16)
        return load_bf16(value);
    else
        return load_f16(value);
}

// Decodes columns [first, first + columns) of a panel to `out`, [columns][16] fp32.
template <Format F>
inline void unpack_exact(const uint8_t* panel, int64_t first, int64_t columns, float* out) {
    using L = Layout<F>;
    if constexpr (!L::kQuantized) {
        for (int64_t i = 0; i < columns * kPanel; i += kLanes)
            store(out + i, dense_value<F>(panel, first * kPanel + i));
    } else {
        for (int64_t b = 0; b < columns / kBlock; b++) {
            const BlockView<F> block(panel, first / kBlock + b);
            float* to = out + b * kBlock * kPanel;
            for (int v = 0; v < kVectors; v++) {
                for (int group = 0; group < L::kGroups; group++) {
                    const F32 scale = group_scale<F>(block, group, v);
                    float* column = to + group * L::kGroup * kPanel + v * kLanes;
                    if constexpr (L::kInPairs) {
#pragma GCC unroll 16
                        for (int pair = 0; pair < kBlock / 2; pair++) {
                            const I16 codes = pair_codes(block.codes, pair, v);
                            store(column + 2 * pair * kPanel, scale * to_float(low_half(codes)));
                            store(column + (2 * pair + 1) * kPanel, scale * to_float(high_half(codes)));
                        }
                    } else {
                        const F32 minimum = group_minimum<F>(block, scale, v);
#pragma GCC unroll 8
                        for (int quad = 0; quad < L::kGroup / 4; quad++) {
                            const I32 codes = (I32)quad_codes<F>(block.codes, group * L::kGroup / 4 + quad, v);
#pragma GCC unroll 4
                            for (int k = 0; k < 4; k++)
                                store(column + (quad * 4 + k) * kPanel,
                                      fma(to_float(byte_of(codes, k)), scale, minimum));
                        }
                    }
                }
            }
        }
    }
}

// How many neighbouring panels an integer product processes together: two if one vector holds a column of a panel, so
// that each vector of broadcast activations is used twice.
constexpr int kTogether = kVectors == 1 ? 2 : 1;
constexpr int kTileVectors = kTogether * kVectors;

// A range of columns of these panels, unpacked for integer products.
struct IntegerPanels {
    const uint8_t* packed;  // start of the first panel
    int64_t second;         // bytes from the first panel to the second; 0 if there is none
    uint8_t* codes;         // [blocks][8 quads][kTogether][16 rows][4], for formats in quads
    float* scales;          // [headers][kTogether][16]
    int32_t* nested;        // [blocks][groups][kTogether][16], a Factor for each row, for formats with nested scales
    float* minimums;        // [blocks][kTogether][16], for formats with minimums

    // The packed panel that vector `v`, below kTileVectors, belongs to.
    const uint8_t* panel(int v) const { return packed + v / kVectors * second; }
};

// Unpacks blocks [first, first + blocks) of the panels.
template <Format F>
inline void unpack_codes(const IntegerPanels& out, int64_t first, int64_t blocks, Ahead ahead) {
    using L = Layout<F>;
    for (int64_t b = 0; b < blocks; b++) {
        ahead.fetch(b);
        for (int v = 0; v < kTileVectors; v++) {
            const BlockView<F> block(out.panel(v), first + b);
            const int part = v % kVectors;
            const auto at = [&](int64_t row) { return row * kTileVectors + v; };
            if (b % L::kSuperBlocks == 0)
                store(out.scales + at(b / L::kSuperBlocks) * kLanes, super_scale<F>(block, part));
            if constexpr (L::kNested)
                for (int group = 0; group < L::kGroups; group++)
                    store(out.nested + at(b * L::kGroups + group) * kLanes, nested_factor<F>(block, group, part));
            if constexpr (L::kMinimums) store(out.minimums + at(b) * kLanes, block_minimum<F>(block, part));
            if constexpr (!L::kInPairs) {
#pragma GCC unroll 8
                for (int quad = 0; quad < kQuads; quad++)
                    store(out.codes + at(b * kQuads + quad) * kWidth, integer_quad<F>(block.codes, quad, part));
            }
        }
    }
}

}  // namespace marcot
