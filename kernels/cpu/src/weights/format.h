// Weights in memory. A section is a run of rows in one format; its rows are packed 16 at a time into panels, which are
// read front to back. Formats keep the bits of the file: what a GGUF block holds is moved, never rounded.
//
//   dense       [columns][16] values
//   quantised   per run of kSuper columns: a header (fp16 scales of the 16 rows), then blocks of 32 columns:
//               their own small scales, if the format has any, and the codes
//
// Codes lie in quads, four columns of one row side by side: [8 quads][16 rows][4 columns] of a block. The low four bits
// of two quads share bytes, higher bits follow. 8-bit codes lie in quads where the machine multiplies these, 128 added
// so that they are unsigned like all others; elsewhere in pairs, [16 pairs][16 rows][2 columns], signed.
#pragma once

#include "../simd/vectors.h"

namespace marcot {

constexpr int kPanel = 16;                 // rows of a weight that are packed together
constexpr int kVectors = kPanel / kLanes;  // vectors that hold one value of each row of a panel
constexpr int kBlock = 32;                 // columns of a quantised block
constexpr int kQuads = kBlock / 4;

// The order is part of the interface: Python passes the number.
enum class Format : int64_t { F32, BF16, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K };

template <Format F>
struct Layout;

template <typename T, T Exponent>
struct Dense {
    using Bits = T;
    static constexpr T kExponent = Exponent;  // its bits
    static constexpr bool kQuantized = false;
    static constexpr int kSuper = 1;
    static constexpr int kSuperBytes = kPanel * sizeof(T);
};

// `Minimums`: a value is scale * code + minimum with a stored minimum, otherwise scale * (code - centre).
template <int Bits, bool Minimums, bool Nested>
struct Quantized {
    static constexpr bool kQuantized = true;
    static constexpr int kBits = Bits;
    static constexpr bool kMinimums = Minimums;
    static constexpr bool kNested = Nested;  // scales are themselves codes below fp16 scales of 256 columns
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
    // Whether integer products centre the codes. Pairs of products can have it in int16: codes - kCentre times int8
    // activations, summed over a whole group, fit, so the sum may wrap on its way there.
    static constexpr bool kCentred = !Minimums && !(Bits == 8 && (kSignedQuads || !MARCOT_QUAD_DOTS));
    // Quads whose products fit one int16 sum: of codes as they are, 2 * 127 * (2^Bits - 1) each.
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

// Calls `use` with the format as a compile-time constant: use(Constant<...>).
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
    int64_t offset;  // of its first panel in the weight's memory, in bytes
    int64_t fast;    // whether activations are int8

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
};

// One panel of a weight.
struct Panel {
    const Section* section;
    const uint8_t* data;
    int64_t first_row;  // in the whole weight
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
