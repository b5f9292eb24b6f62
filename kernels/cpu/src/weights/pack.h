// Packs rows, as they are stored in a model file, into panels.
#pragma once

#include <algorithm>

#include "../team/team.h"
#include "format.h"

namespace marcot {

// The contents of 32 columns of one row of a GGUF tensor.
struct BlockCodes {
    uint8_t codes[kBlock];    // signed in 8-bit formats, unsigned in all others
    uint16_t scale, minimum;  // fp16; of the block or, in nested formats, of its 256 columns
    uint8_t scales[2];        // nested formats only: scale and minimum, or (Q6_K) the scales of the two halves
};

inline uint16_t read_u16(const uint8_t* from) {
    uint16_t value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

// Unpacks the nibbles of a plain block: the low nibbles are columns 0 to 15, the high ones 16 to 31.
inline void read_nibbles(const uint8_t* nibbles, uint8_t* codes) {
    for (int i = 0; i < 16; i++) {
        codes[i] = nibbles[i] & 15;
        codes[i + 16] = nibbles[i] >> 4;
    }
}

// Adds the fifth bit to each of 32 codes. A multiplication spreads four bits over four bytes.
inline void read_fifth_bits(const uint8_t* bits, uint8_t* codes) {
    for (int quad = 0; quad < kQuads; quad++) {
        const uint32_t four = bits[quad / 2] >> (quad % 2 * 4) & 15;
        store(codes + quad * 4, load<uint32_t>(codes + quad * 4) | (four * 0x00204081u & 0x01010101u) << 4);
    }
}

// Reads scale and minimum of one block from the twelve bytes in which Q4_K and Q5_K store eight 6-bit scales and eight
// 6-bit minimums.
inline void read_six_bit_scales(const uint8_t* packed, int64_t block, uint8_t* scales) {
    if (block < 4) {
        scales[0] = packed[block] & 63;
        scales[1] = packed[block + 4] & 63;
    } else {
        scales[0] = (packed[block + 4] & 15) | (packed[block - 4] >> 6) << 4;
        scales[1] = (packed[block + 4] >> 4) | (packed[block] >> 6) << 4;
    }
}

// Reads columns [32 * block, 32 * block + 32) of a row.
template <Format F>
inline BlockCodes read_block(const uint8_t* row, int64_t block) {
    BlockCodes out{};
    if constexpr (F == Format::Q4_0) {
        const uint8_t* b = row + block * 18;
        out.scale = read_u16(b);
        read_nibbles(b + 2, out.codes);
    } else if constexpr (F == Format::Q4_1) {
        const uint8_t* b = row + block * 20;
        out.scale = read_u16(b), out.minimum = read_u16(b + 2);
        read_nibbles(b + 4, out.codes);
    } else if constexpr (F == Format::Q5_0) {
        const uint8_t* b = row + block * 22;
        out.scale = read_u16(b);
        read_nibbles(b + 6, out.codes);
        read_fifth_bits(b + 2, out.codes);
    } else if constexpr (F == Format::Q5_1) {
        const uint8_t* b = row + block * 24;
        out.scale = read_u16(b), out.minimum = read_u16(b + 2);
        read_nibbles(b + 8, out.codes);
        read_fifth_bits(b + 4, out.codes);
    } else if constexpr (F == Format::Q8_0) {
        const uint8_t* b = row + block * 34;
        out.scale = read_u16(b);
        std::memcpy(out.codes, b + 2, kBlock);
    } else if constexpr (F == Format::Q4_K || F == Format::Q5_K) {
        constexpr int kBytes = F == Format::Q4_K ? 144 : 176;
        const uint8_t* b = row + block / 8 * kBytes;
        const int64_t part = block % 8;
        out.scale = read_u16(b), out.minimum = read_u16(b + 2);
        read_six_bit_scales(b + 4, part, out.scales);
        const uint8_t* nibbles = b + kBytes - 128 + part / 2 * 32;
        for (int i = 0; i < kBlock; i++) out.codes[i] = part % 2 ? nibbles[i] >> 4 : nibbles[i] & 15;
        if constexpr (F == Format::Q5_K)
            for (int i = 0; i < kBlock; i++) out.codes[i] |= (b[16 + i] >> part & 1) << 4;
    } else if constexpr (F == Format::Q6_K) {
        const uint8_t* b = row + block / 8 * 210;
        const int64_t half = block % 8 / 4, part = block % 4;
        const uint8_t* low = b + half * 64 + part % 2 * 32;
        const uint8_t* high = b + 128 + half * 32;
        for (int i = 0; i < kBlock; i++) {
            const int nibble = part < 2 ? low[i] & 15 : low[i] >> 4;
            out.codes[i] = nibble | (high[i] >> (2 * part) & 3) << 4;
        }
        std::memcpy(out.scales, b + 192 + half * 8 + part * 2, 2);
        out.scale = read_u16(b + 208);
    }
    return out;
}

// Writes the codes of one row of a panel into its block, a quad or a pair at a time.
template <Format F>
inline void write_codes(const uint8_t* codes, int row, uint8_t* block) {
    constexpr int kBits = Layout<F>::kBits;
    if constexpr (Layout<F>::kInPairs) {
        for (int pair = 0; pair < kBlock / 2; pair++)
            std::memcpy(block + (pair * kPanel + row) * 2, codes + pair * 2, 2);
        return;
    }
    if constexpr (kBits == 8) {
        for (int quad = 0; quad < kQuads; quad++)
            store(block + (quad * kPanel + row) * 4, load<uint32_t>(codes + quad * 4) ^ 0x80808080);
        return;
    }
    uint32_t quads[kQuads];
    std::memcpy(quads, codes, kBlock);
    const auto bits = [&](int quad, uint32_t mask) { return quads[quad] & mask * 0x01010101; };
    const auto put = [&](int chunk, uint32_t four) { store(block + chunk * 64 + row * 4, four); };
    if constexpr (kBits == 4)
        for (int chunk = 0; chunk < 4; chunk++) put(chunk, quads[2 * chunk] | quads[2 * chunk + 1] << 4);
    if constexpr (kBits == 5) {
        put(0, quads[0] | bits(5, 7) << 5);
        put(1, quads[1] | bits(5, 24) << 3 | bits(7, 8) << 2);
        put(2, quads[2] | bits(6, 7) << 5);
        put(3, quads[3] | bits(6, 24) << 3 | bits(7, 16) << 1);
        put(4, quads[4] | bits(7, 7) << 5);
    }
    if constexpr (kBits == 6)
        for (int half = 0; half < 2; half++) {
            const int last = half * 4 + 3;
            put(half * 3, quads[half * 4] | bits(last, 3) << 6);
            put(half * 3 + 1, quads[half * 4 + 1] | bits(last, 12) << 4);
            put(half * 3 + 2, quads[half * 4 + 2] | bits(last, 48) << 2);
        }
}

// Whether an fp16 number is neither infinite nor NaN.
inline bool is_finite_f16(uint16_t bits) { return (bits & 0x7c00) != 0x7c00; }

// Packs a row of a quantised format; returns whether all its values are finite, which they are if all its fp16 scales
// and minimums are.
template <Format F>
inline bool pack_quantized_row(const uint8_t* source, int64_t columns, int row, uint8_t* panel) {
    using L = Layout<F>;
    bool finite = true;
    for (int64_t block = 0; block < columns / kBlock; block++) {
        uint8_t* super = panel + block * kBlock / L::kSuper * L::kSuperBytes;
        uint8_t* here = super + L::kHeader + block % (L::kSuper / kBlock) * L::kBlockBytes;
        const BlockCodes read = read_block<F>(source, block);
        finite &= is_finite_f16(read.scale) & is_finite_f16(read.minimum);
        std::memcpy(super + row * 2, &read.scale, 2);
        if constexpr (L::kMinimums) std::memcpy(super + 32 + row * 2, &read.minimum, 2);
        if constexpr (L::kNested) {
            here[row] = read.scales[0];
            here[kPanel + row] = read.scales[1];
        }
        write_codes<F>(read.codes, row, here + L::kScales);
    }
    return finite;
}

// Packs a row of a dense format; returns whether all its values are finite. Infinities and NaN are the values whose
// exponent bits are all ones. A separate loop checks them, so that the compiler can vectorise it.
template <Format F>
inline bool pack_dense_row(const uint8_t* source, int64_t columns, int row, uint8_t* panel) {
    using Bits = typename Layout<F>::Bits;
    constexpr Bits kAll = Layout<F>::kExponent;
    Bits largest = 0;
    for (int64_t k = 0; k < columns; k++)
        largest = std::max<Bits>(largest, load<Bits>(source + k * sizeof(Bits)) & kAll);
    for (int64_t k = 0; k < columns; k++)
        std::memcpy(panel + (k * kPanel + row) * sizeof(Bits), source + k * sizeof(Bits), sizeof(Bits));
    return largest != kAll;
}

// Packs `rows` rows, `stride` bytes apart, into panels at `packed`. Missing rows of the last panel become zeros. Sets
// `finite` to false if a value is infinite or NaN.
template <Format F>
inline void pack(Team& team, const uint8_t* source, int64_t stride, int64_t rows, int64_t columns, uint8_t* packed,
                 bool* finite) {
    const int64_t bytes = panel_bytes<F>(columns);
    team.run((rows + kPanel - 1) / kPanel, 1, [&](int64_t first, int64_t last) {
        for (int64_t p = first; p < last; p++) {
            uint8_t* panel = packed + p * bytes;
            bool all_finite = true;
            std::memset(panel, 0, bytes);
            for (int row = 0; row < kPanel && p * kPanel + row < rows; row++) {
                const uint8_t* from = source + (p * kPanel + row) * stride;
                if constexpr (Layout<F>::kQuantized)
                    all_finite &= pack_quantized_row<F>(from, columns, row, panel);
                else
                    all_finite &= pack_dense_row<F>(from, columns, row, panel);
            }
            if (!all_finite) __atomic_store_n(finite, false, __ATOMIC_RELAXED);
        }
    });
}

}  // namespace marcot
