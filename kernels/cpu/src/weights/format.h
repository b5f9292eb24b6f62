// The layout of packed weights. A section is a run of rows in one format. Its rows are packed 16 at a time into panels,
// which the kernels read sequentially. Packing only moves bits: the contents of a GGUF block are never rounded.
//
// Layout of a panel:
//   dense       [columns][16] values
//   quantised   for each group of kSuper columns: a header with the fp16 scales (and minimums) of the 16 rows, then
//               blocks of 32 columns, each with its nested scales, if the format has any, and its codes
//
// Codes are stored in quads, four columns of one row side by side: a block is [8 quads][16 rows][4 columns], in chunks
// of 64 bytes, one byte per column. A chunk of 4-bit codes holds two quads. Of 5-bit codes, five quads have a chunk
// each, and the spare three bits of the five chunks hold the other three quads; of 6-bit codes, every fourth quad is
// spread over the spare two bits of the three before it. So most quads need only a mask. 8-bit codes are also in quads
// on machines with an instruction for dot products of four bytes, with 128 added so that they are unsigned like all
// other codes. On other machines they are in pairs, [16 pairs][16 rows][2 columns], signed.
#pragma once

#include <algorithm>

#include "../simd/vectors.h"

namespace marcot {

constexpr int kPanel = 16;                 // rows of a panel
constexpr int kVectors = kPanel / kLanes;  // vectors needed for one value of every row of a panel
constexpr int kBlock = 32;                 // columns of a quantised block
constexpr int kQuads = kBlock / 4;

// The order is part of the interface: Python passes these numbers.
enum class Format : int64_t { F32, BF16, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K };

template <Format F>
struct Layout;

template <typename T, T Exponent>
struct Dense {
    using Bits = T;
    static constexpr T kExponent = Exponent;  // the bits of its exponent, all set in infinities and NaN
    static constexpr bool kQuantized = false;
    static constexpr int kSuper = 1;
    static constexpr int kSuperBytes = kPanel * sizeof(T);
};

// A format of quantised blocks. With `Minimums`, a value is scale * code + minimum, where the minimum is stored;
// otherwise it is scale * (code - kCentre).
template <int Bits, bool Minimums, bool Nested>
struct Quantized {
    static constexpr bool kQuantized = true;
    static constexpr int kBits = Bits;
    static constexpr bool kMinimums = Minimums;
    static constexpr bool kNested = Nested;  // an integer scale per group, times an fp16 scale per 256 columns
    static constexpr int kCentre = 1 << (Bits - 1);
    static constexpr bool kInPairs = Bits == 8 && !MARCOT_QUAD_DOTS;
    static constexpr int kGroup = Nested && Bits == 6 ? 16 : 32;  // columns that share a scale
    static constexpr int kGroups = kBlock / kGroup;
    static constexpr int kSuper = Nested ? 256 : 32;
    static constexpr int kSuperBlocks = kSuper / kBlock;
    static constexpr int kHeader = Nested ? 64 : Minimums ? 64 : 32;
    static constexpr int kScales = Nested ? 32 : 0;
    static constexpr int kCodes = kBlock * kPanel * Bits / 8;
    static constexpr int kBlockBytes = kScales + kCodes;
    static constexpr int kSuperBytes = kHeader + kSuperBlocks * kBlockBytes;
    // Whether integer products subtract kCentre from the codes, by starting sums at -kCentre * (sum of activations).
    // This works in int16 too: the sum of (code - kCentre) * activation over a whole group fits, so that it comes out
    // right even if partial sums wrap around.
    static constexpr bool kCentred = !Minimums && !(Bits == 8 && (kSignedQuads || !MARCOT_QUAD_DOTS));
    // Quads that can be summed in int16 without overflow; a quad of uncentred codes adds up to 2 * 127 * (2^Bits - 1).
    static constexpr int kDepth = kCentred || Bits == 4 ? kGroup / 4 : 4;
};

template <>
struct Layout<Format::F32> : Dense<uint32_t, 0x7f800000> {};
template <>
struct Layout<Format::BF16> : Dense<uint16_t, 0x7f80> {};
template <>
struct Layout<Format::F16> : Dense<uint16_t, 0x7c00> {};
template <>
struct Layout<Format::Q4_0> : Quantized<4, false, false> {};
template <>
struct Layout<Format::Q4_1> : Quantized<4, true, false> {};
template <>
struct Layout<Format::Q5_0> : Quantized<5, false, false> {};
template <>
struct Layout<Format::Q5_1> : Quantized<5, true, false> {};
template <>
struct Layout<Format::Q8_0> : Quantized<8, false, false> {};
template <>
struct Layout<Format::Q4_K> : Quantized<4, true, true> {};
template <>
struct Layout<Format::Q5_K> : Quantized<5, true, true> {};
template <>
struct Layout<Format::Q6_K> : Quantized<6, false, true> {};

template <Format F>
struct Constant {
    static constexpr Format value = F;
};

// Turns a run-time format into a compile-time constant: calls use(Constant<format>{}).
template <typename Use>
inline void with_format(Format format, const Use& use) {
    switch (format) {
        case Format::F32: return use(Constant<Format::F32>{});
        case Format::BF16: return use(Constant<Format::BF16>{});
        case Format::F16: return use(Constant<Format::F16>{});
        case Format::Q4_0: return use(Constant<Format::Q4_0>{});
        case Format::Q4_1: return use(Constant<Format::Q4_1>{});
        case Format::Q5_0: return use(Constant<Format::Q5_0>{});
        case Format::Q5_1: return use(Constant<Format::Q5_1>{});
        case Format::Q8_0: return use(Constant<Format::Q8_0>{});
        case Format::Q4_K: return use(Constant<Format::Q4_K>{});
        case Format::Q5_K: return use(Constant<Format::Q5_K>{});
        case Format::Q6_K: return use(Constant<Format::Q6_K>{});
    }
}

template <Format F>
constexpr int64_t panel_bytes(int64_t columns) {
    return columns / Layout<F>::kSuper * Layout<F>::kSuperBytes;
}

// A run of rows in one format, as Python passes it: four int64.
struct Section {
    Format format;
    int64_t rows;
    int64_t offset;  // in bytes, from the start of the weight's data to the first panel
    int64_t fast;    // whether activations are quantised to int8

    int64_t panels() const { return (rows + kPanel - 1) / kPanel; }
};

// A packed weight.
struct Weight {
    const uint8_t* data;
    const Section* sections;
    int64_t section_count;
    int64_t columns;

    int64_t rows() const {
        int64_t rows = 0;
        for (int64_t s = 0; s < section_count; s++) rows += sections[s].rows;
        return rows;
    }
    int64_t panels() const {
        int64_t panels = 0;
        for (int64_t s = 0; s < section_count; s++) panels += sections[s].panels();
        return panels;
    }
    // Whether activations are quantised for a section (`fast`), or whether they are not for a section.
    bool has_section(bool fast) const {
        return std::any_of(sections, sections + section_count, [&](const Section& s) { return (s.fast != 0) == fast; });
    }
};

// One panel of a weight.
struct Panel {
    const Section* section;
    const uint8_t* data;
    int64_t first_row;  // counted over the whole weight
    int64_t rows_left;  // in the section, from this panel on
    int rows;           // 16, or fewer at the end of a section
};

inline int64_t section_panel_bytes(const Section& section, int64_t columns) {
    int64_t bytes = 0;
    with_format(section.format, [&](auto format) { bytes = panel_bytes<decltype(format)::value>(columns); });
    return bytes;
}

inline Panel panel_of(const Weight& weight, int64_t index) {
    int64_t row = 0;
    const Section* section = weight.sections;
    while (index >= section->panels()) {
        index -= section->panels();
        row += section->rows;
        section++;
    }
    const int64_t left = section->rows - index * kPanel;
    return {section, weight.data + section->offset + index * section_panel_bytes(*section, weight.columns),
            row + index * kPanel, left, (int)(left < kPanel ? left : kPanel)};
}

}  // namespace marcot
