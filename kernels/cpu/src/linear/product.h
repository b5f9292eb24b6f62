// Rows times one panel of a weight: the panel is unpacked once, a stretch of columns at a time that stays in the cache,
// and every row is multiplied with it.
#pragma once

#include <algorithm>

#include "../team/scratch.h"
#include "../weights/unpack.h"
#include "few_rows.h"
#include "integer_tile.h"
#include "tile.h"

namespace marcot {

// 32 KB of codes: a tile of bytes reads so little per product that the second cache level keeps up, and few rows of a
// model are longer.
constexpr int64_t kIntegerColumns = 2048;

// Where the columns from `columns` on lie in memory: what is wanted after those before, be it of this panel or the
// next.
template <Format F>
inline const uint8_t* after(const uint8_t* panel, int64_t columns) {
    using L = Layout<F>;
    return panel + columns * L::kSuperBytes / L::kSuper;
}

constexpr int64_t kUnpackRows = 2;  // unpacking takes about as long as multiplying this many rows

// out[rows][16] (row stride in floats) = x panelᵀ in fp32.
template <Format F>
void multiply_exact(const uint8_t* panel, const Activations& x, float* out, int64_t stride) {
    if (x.rows <= kFewRows)
        return with_run<kFewRows>((int)x.rows,
                                  [&](auto rows) { multiply_few<F, decltype(rows)::value, 1>(panel, x, out, stride); });
    alignas(64) float unpacked[kExactColumns * kPanel];
    for (int64_t first = 0; first < x.columns; first += kExactColumns) {
        const int64_t columns = std::min(kExactColumns, x.columns - first);
        const float* values = unpacked;
        if constexpr (F == Format::F32)
            values = (const float*)panel + first * kPanel;
        else
            unpack_exact<F>(panel, first, columns, unpacked);
        const uint8_t* next = after<F>(panel, first + columns);
        const int64_t bytes = after<F>(panel, columns) - panel;
        for_tiles<kTileRows>(x.rows, [&](int64_t row, auto rows) {
            constexpr int kRows = decltype(rows)::value;
            const float* from[kRows];
            float* to[kRows];
            for (int r = 0; r < kRows; r++) {
                from[r] = x.values + (row + r) * x.columns + first;
                to[r] = out + (row + r) * stride;
            }
            const Ahead ahead{next + row * bytes / x.rows, (bytes * kRows / x.rows + columns - 1) / columns};
            multiply_tile<kRows>(from, columns, values, first > 0, to, ahead);
        });
    }
}

// Rows times one panel with int8 activations.
template <Format F>
void multiply_fast(const uint8_t* panel, const Activations& x, float* out, int64_t stride) {
    constexpr int64_t kBlocks = kIntegerColumns / kBlock;
    alignas(64) uint8_t codes[kIntegerColumns * kPanel];
    alignas(64) float scales[kBlocks * kPanel], minimums[kBlocks * kPanel];
    alignas(64) int16_t nested[kBlocks * 2 * kPanel * 2];
    const IntegerPanel unpacked{panel, codes, scales, nested, minimums};
    const int64_t all = x.columns / kBlock;
    if (x.rows <= kIntegerTileRows) {
        const Ahead ahead{after<F>(panel, x.columns), panel_bytes<F>(x.columns) / all};
        return with_run<kIntegerTileRows>((int)x.rows, [&](auto rows) {
            multiply_codes<F, decltype(rows)::value, PackedBlock<F>>(unpacked, all, x, 0, 0, out, stride, ahead);
        });
    }
    for (int64_t first = 0; first < all; first += kIntegerColumns / kBlock) {
        const int64_t blocks = std::min(kIntegerColumns / kBlock, all - first);
        const uint8_t* next = after<F>(panel, (first + blocks) * kBlock);
        const int64_t bytes = after<F>(panel, blocks * kBlock) - panel;
        const int64_t share = bytes / (x.rows + kUnpackRows), unpack_share = bytes - x.rows * share;
        unpack_codes<F>(unpacked, first, blocks, {next + x.rows * share, unpack_share / blocks});
        for_tiles<kIntegerTileRows>(x.rows, [&](int64_t row, auto rows) {
            constexpr int kRows = decltype(rows)::value;
            const Ahead ahead{next + row * share, share * kRows / blocks};
            multiply_codes<F, kRows, UnpackedBlock<F>>(unpacked, blocks, x, row, first, out + row * stride, stride,
                                                       ahead);
        });
    }
}

// out[rows][panel.rows] = x panelᵀ.
inline void multiply_panel(const Panel& panel, const Activations& x, float* out, int64_t stride, Scratch& scratch) {
    float* to = out;
    int64_t to_stride = stride;
    if (panel.rows < kPanel) {  // the micro-kernels write 16 columns
        to = scratch.of<float>(x.rows * kPanel);
        to_stride = kPanel;
    }
    with_format(panel.section->format, [&](auto format) {
        constexpr Format F = decltype(format)::value;
        if constexpr (Layout<F>::kQuantized) {
            if (panel.section->fast) return multiply_fast<F>(panel.data, x, to, to_stride);
        }
        multiply_exact<F>(panel.data, x, to, to_stride);
    });
    if (panel.rows < kPanel)
        for (int64_t row = 0; row < x.rows; row++) std::memcpy(out + row * stride, to + row * kPanel, panel.rows * 4);
}

// out[rows][...] = x Wᵀ for panels [first, last) of the weight; the first of their rows is column 0 of out.
inline void multiply_panels(const Weight& weight, int64_t first, int64_t last, const Activations& x, float* out,
                            int64_t stride, Scratch& scratch) {
    const int64_t begin = panel_of(weight, first).first_row;
    for (int64_t p = first; p < last;) {
        const Panel panel = panel_of(weight, p);
        float* to = out + panel.first_row - begin;
        const Section& section = *panel.section;
        constexpr int kPanels = kFewPanels<1>;
        if (x.rows == 1 && !section.fast && p + kPanels <= last && panel.rows_left >= kPanels * kPanel) {
            with_format(section.format, [&](auto format) {
                multiply_few<decltype(format)::value, 1, kPanels>(panel.data, x, to, stride);
            });
            p += kPanels;
        } else {
            multiply_panel(panel, x, to, stride, scratch);
            p++;
        }
    }
}

// `rows` rows of x to be multiplied with `weight`: with integer fields in `integers`, not filled yet, where a section
// is fast.
inline Activations activations_for(const Weight& weight, const float* x, int64_t rows, uint8_t* integers) {
    Activations activations{};
    activations.values = x, activations.rows = rows, activations.columns = weight.columns;
    const auto is_fast = [](const Section& section) { return section.fast != 0; };
    if (std::any_of(weight.sections, weight.sections + weight.section_count, is_fast)) activations.place(integers);
    return activations;
}

// y[rows][weight.rows()] = x Wᵀ.
inline void multiply(Team& team, const Weight& weight, const Activations& x, float* y) {
    const int64_t width = weight.rows();
    team.run(weight.panels(), 1, [&](int64_t first, int64_t last) {
        static thread_local Scratch scratch;
        multiply_panels(weight, first, last, x, y + panel_of(weight, first).first_row, width, scratch);
    });
}

// The same for rows that nobody has quantised; `integers` has room for Activations::integer_bytes.
inline void linear(Team& team, const Weight& weight, const float* x, int64_t rows, uint8_t* integers, float* y) {
    const Activations activations = activations_for(weight, x, rows, integers);
    quantize(team, activations);
    multiply(team, weight, activations, y);
}

}  // namespace marcot
