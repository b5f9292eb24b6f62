// Matrix products: rows times the panels of a weight. For many rows, a panel is unpacked once, a range of columns at a
// time that fits in the cache, and all rows are multiplied with it. For few rows, its values are decoded straight into
// registers instead.
#pragma once

#include <algorithm>

#include "../team/scratch.h"
#include "../weights/unpack.h"
#include "few_rows.h"
#include "integer_tile.h"
#include "tile.h"

namespace marcot {

// Columns that are unpacked at a time: 32 KB of codes. They may exceed the L1 cache, because a tile of bytes reads so
// little per product that L2 keeps up. Few weights have longer rows.
constexpr int64_t kIntegerColumns = 2048 / kTogether;

// The address of column `column` of a panel.
template <Format F>
inline const uint8_t* column_of(const uint8_t* panel, int64_t column) {
    using L = Layout<F>;
    return panel + column * L::kSuperBytes / L::kSuper;
}

constexpr int64_t kUnpackRows = 2;  // unpacking takes about as long as multiplying this many rows

// All functions below prefetch `next`, the panel that will be read after those that they multiply.

// out[rows][16] = x panelᵀ in fp32; `stride` is the distance between rows of `out`, in floats.
template <Format F>
void multiply_exact(const uint8_t* panel, const uint8_t* next, const Activations& x, float* out, int64_t stride) {
    if (x.rows <= kFewRows)
        return with_run<kFewRows>(
            (int)x.rows, [&](auto rows) { multiply_few<F, decltype(rows)::value, 1>(panel, next, x, out, stride); });
    alignas(64) float unpacked[kExactColumns * kPanel];
    for (int64_t first = 0; first < x.columns; first += kExactColumns) {
        const int64_t columns = std::min(kExactColumns, x.columns - first);
        const float* values = unpacked;
        if constexpr (F == Format::F32)
            values = (const float*)panel + first * kPanel;
        else
            unpack_exact<F>(panel, first, columns, unpacked);
        const uint8_t* following = first + columns == x.columns ? next : column_of<F>(panel, first + columns);
        const int64_t bytes = column_of<F>(panel, columns) - panel;
        for_tiles<kTileRows>(x.rows, [&](int64_t row, auto rows) {
            constexpr int kRows = decltype(rows)::value;
            const float* from[kRows];
            float* to[kRows];
            for (int r = 0; r < kRows; r++) {
                from[r] = x.values + (row + r) * x.columns + first;
                to[r] = out + (row + r) * stride;
            }
            const Ahead ahead{following + row * bytes / x.rows, (bytes * kRows / x.rows + columns - 1) / columns};
            multiply_tile<kRows>(from, columns, values, first > 0, to, ahead);
        });
    }
}

// int8 rows times the first Vectors vectors of kTogether panels: `panel`, and the one `second` bytes further on. Each
// tile of at most `Most` rows decodes the codes again.
template <Format F, int Most, int Vectors = kTileVectors>
void multiply_decoding(const uint8_t* panel, int64_t second, const uint8_t* next, const Activations& x, float* out,
                       int64_t stride) {
    const IntegerPanels panels{panel, second, nullptr, nullptr, nullptr, nullptr};
    const int64_t blocks = x.columns / kBlock, bytes = panel_bytes<F>(x.columns);
    const int64_t share = bytes / std::max<int64_t>(x.rows, 1);
    for_tiles<Most>(x.rows, [&](int64_t row, auto rows) {
        constexpr int kRows = decltype(rows)::value;
        const Ahead ahead{next + row * share, (share * kRows + blocks - 1) / blocks, second};
        multiply_codes<F, kRows, Vectors, PackedBlock<F>>(panels, blocks, x, row, 0, out + row * stride, stride, ahead);
    });
}

// The same, but unpacks the codes once for all tiles, a range of columns at a time.
template <Format F>
void multiply_unpacked(const uint8_t* panel, int64_t second, const uint8_t* next, const Activations& x, float* out,
                       int64_t stride) {
    constexpr int64_t kBlocks = kIntegerColumns / kBlock, kRowsOfPanels = kTogether * kPanel;
    alignas(64) uint8_t codes[kIntegerColumns * kRowsOfPanels];
    alignas(64) float scales[kBlocks * kRowsOfPanels], minimums[kBlocks * kRowsOfPanels];
    alignas(64) int32_t nested[kBlocks * 2 * kRowsOfPanels];
    const IntegerPanels panels{panel, second, codes, scales, nested, minimums};
    const int64_t all = x.columns / kBlock;
    for (int64_t first = 0; first < all; first += kBlocks) {
        const int64_t blocks = std::min(kBlocks, all - first);
        const uint8_t* following = first + blocks == all ? next : column_of<F>(panel, (first + blocks) * kBlock);
        const int64_t bytes = column_of<F>(panel, blocks * kBlock) - panel;
        const int64_t share = bytes / (x.rows + kUnpackRows), unpack_share = bytes - x.rows * share;
        unpack_codes<F>(panels, first, blocks, {following + x.rows * share, unpack_share / blocks, second});
        for_tiles<kIntegerTileRows>(x.rows, [&](int64_t row, auto rows) {
            constexpr int kRows = decltype(rows)::value;
            const Ahead ahead{following + row * share, share * kRows / blocks, second};
            multiply_codes<F, kRows, kTileVectors, UnpackedBlock<F>>(panels, blocks, x, row, first, out + row * stride,
                                                                     stride, ahead);
        });
    }
}

// The same, with the method that is fastest for the number of rows.
template <Format F>
void multiply_fast(const uint8_t* panel, int64_t second, const uint8_t* next, const Activations& x, float* out,
                   int64_t stride) {
    if constexpr (kTogether > 1) {
        if (x.rows <= kStreamedRows) {
            const uint8_t* last = panel + second;
            multiply_decoding<F, kStreamedRows, kVectors>(panel, 0, second ? last : next, x, out, stride);
            if (second) multiply_decoding<F, kStreamedRows, kVectors>(last, 0, next, x, out + kPanel, stride);
            return;
        }
    }
    if (x.rows <= kSingleTileRows) return multiply_decoding<F, kSingleTileRows>(panel, second, next, x, out, stride);
    // Codes that are bytes need no unpacking.
    if (x.rows <= kDecodedRows || (kTogether > 1 && Layout<F>::kBits == 8))
        return multiply_decoding<F, kDecodedTileRows<F>>(panel, second, next, x, out, stride);
    multiply_unpacked<F>(panel, second, next, x, out, stride);
}

// Calls use(to, stride), which writes `columns` columns of products for `rows` rows. If only `kept` of these columns
// exist in `out`, `use` writes to `scratch` and the existing ones are copied.
template <typename Use>
inline void write_columns(int64_t rows, int columns, int64_t kept, float* out, int64_t stride, Scratch& scratch,
                          const Use& use) {
    if (kept >= columns) return use(out, stride);
    float* own = scratch.of<float>(rows * columns);
    use(own, (int64_t)columns);
    for (int64_t row = 0; row < rows; row++) std::memcpy(out + row * stride, own + row * columns, kept * 4);
}

// out[rows][...] = x Wᵀ for panels [first, last) of the weight; column 0 of `out` is the first row of panel `first`.
// `next` is the panel that will be read after them, by default the one that follows in memory.
inline void multiply_panels(const Weight& weight, int64_t first, int64_t last, const Activations& x, float* out,
                            int64_t stride, Scratch& scratch, const uint8_t* next = nullptr) {
    const int64_t begin = panel_of(weight, first).first_row;
    for (int64_t p = first; p < last;) {
        const Panel panel = panel_of(weight, p);
        const int64_t left = std::min(panel.rows_left, (last - p) * kPanel);
        float* to = out + panel.first_row - begin;
        with_format(panel.section->format, [&](auto format) {
            constexpr Format F = decltype(format)::value;
            const int64_t bytes = panel_bytes<F>(x.columns);
            const auto following = [&](int64_t panels) {
                return next && p + panels == last ? next : panel.data + panels * bytes;
            };
            if constexpr (Layout<F>::kQuantized) {
                if (panel.section->fast) {
                    const int64_t kept = std::min<int64_t>(left, kTogether * kPanel);
                    const int64_t panels = (kept + kPanel - 1) / kPanel;
                    write_columns(
                        x.rows, kTogether * kPanel, kept, to, stride, scratch, [&](float* own, int64_t own_stride) {
                            multiply_fast<F>(panel.data, panels > 1 ? bytes : 0, following(panels), x, own, own_stride);
                        });
                    p += panels;
                    return;
                }
            }
            int panels = 1;
            with_run<kFewRows>((int)x.rows, [&](auto rows) {
                constexpr int kRows = decltype(rows)::value, kPanels = kFewPanels<kRows>;
                if (kPanels == 1 || left < kPanels * kPanel) return;
                multiply_few<F, kRows, kPanels>(panel.data, following(kPanels), x, to, stride);
                panels = kPanels;
            });
            if (panels == 1)
                write_columns(x.rows, kPanel, panel.rows, to, stride, scratch, [&](float* own, int64_t own_stride) {
                    multiply_exact<F>(panel.data, following(1), x, own, own_stride);
                });
            p += panels;
        });
    }
}

// Wraps `rows` rows of x that will be multiplied with `weight`. If any section of the weight is fast, the integer
// fields are placed in the memory `integers`, to be filled by `quantize`.
inline Activations activations_for(const Weight& weight, const float* x, int64_t rows, uint8_t* integers) {
    Activations activations{};
    activations.values = x, activations.rows = rows;
    activations.block_rows = Activations::rows_between_blocks(rows);
    activations.columns = weight.columns;
    if (weight.has_section(true)) activations.place(integers);
    return activations;
}

// Bytes of int8 activations that are multiplied with the whole weight before the next rows are: half of a typical L2
// cache, because every panel reads them again.
constexpr int64_t kNearBytes = 512 << 10;
constexpr int64_t kNearRows = 48;  // at least this many rows per part, as every part unpacks all codes again

// Calls use(first_row, part) for one part of the rows after the other.
template <typename Use>
inline void for_parts(const Activations& x, const Use& use) {
    const int64_t wanted = x.bytes ? x.rows * x.columns / kNearBytes + 1 : 1;
    const int64_t parts = std::clamp<int64_t>(x.rows / kNearRows, 1, wanted);
    for (int64_t p = 0; p < parts; p++) {
        const int64_t row = x.rows * p / parts;
        use(row, x.part(row, x.rows * (p + 1) / parts - row));
    }
}

// y[rows][weight.rows()] = x Wᵀ.
inline void multiply(Team& team, const Weight& weight, const Activations& x, float* y) {
    const int64_t width = weight.rows(), panels = weight.panels();
    for_parts(x, [&](int64_t row, const Activations& part) {
        team.run((panels + kTogether - 1) / kTogether, 1, [&](int64_t first_unit, int64_t last_unit) {
            static thread_local Scratch scratch;
            const int64_t first = first_unit * kTogether, last = std::min(last_unit * kTogether, panels);
            float* to = y + row * width + panel_of(weight, first).first_row;
            multiply_panels(weight, first, last, part, to, width, scratch);
        });
    });
}

// The same for rows that are not quantised yet; `integers` must have room for Activations::integer_bytes.
inline void linear(Team& team, const Weight& weight, const float* x, int64_t rows, uint8_t* integers, float* y) {
    const Activations activations = activations_for(weight, x, rows, integers);
    quantize(team, activations);
    multiply(team, weight, activations, y);
}

}  // namespace marcot
