// SwiGLU, silu(gate) * up: as an op, and as the end of the product that computes gate and up.
#pragma once

#include <algorithm>
#include <cstring>

#include "../linear/product.h"
#include "rowwise.h"

namespace marcot {

// x / (1 + exp(-x)). Below -87, x is replaced by -87, as exp(-x) would overflow; the true result is almost 0 there.
inline F32 silu(F32 x) {
    const F32 bounded = x < -87.f ? splat(-87.f) : x;
    return bounded / (exp(-bounded) + 1.f);
}

// silu(gate) * up for one vector of columns.
inline F32 silu_mul(const float* gate, const float* up) { return silu(load<F32>(gate)) * load<F32>(up); }

constexpr int64_t kColumnStep = 256;  // columns per unit of work

// out[rows][width] = silu(gate) * up, where a row of gate_up is gate followed by up.
inline void silu_mul(Team& team, const float* gate_up, int64_t rows, int64_t width, float* out) {
    const int64_t per_row = (width + kColumnStep - 1) / kColumnStep;
    team.run(rows * per_row, 4, [&](int64_t first, int64_t last) {
        for (int64_t unit = first; unit < last; unit++) {
            const int64_t row = unit / per_row, begin = unit % per_row * kColumnStep;
            const float* gate = gate_up + row * 2 * width + begin;
            float* to = out + row * width + begin;
            for_lanes(
                std::min(kColumnStep, width - begin),
                [&](int64_t i) { store(to + i, silu_mul(gate + i, gate + width + i)); },
                [&](int64_t i) { to[i] = (silu(splat(gate[i])) * splat(gate[width + i]))[0]; });
        }
    });
}

// Columns of gate and of up that a unit of multiply_swiglu computes: each switch between the two matrices costs a
// little, as memory is read best in long runs.
constexpr int64_t kUnitColumns = 4 * kBlock;
constexpr int64_t kUnitsPerThread = 8;       // at least, unless units would be smaller than a block
constexpr int64_t kGateUpBytes = 256 << 10;  // of a unit at most, for many rows: a part of a typical L2 cache

// Writes silu(x gateᵀ) * (x upᵀ), where gate and up are the two sections of `gate_up`, to whatever the next product
// reads: the integer fields of `out`, if it has any, and out[rows][width] in `values`, unless that is null. Gate and up
// stay in the cache of the core that computes them. Cores may have no cache in common, and then reading a value that
// another core has written takes as long as reading it from memory.
inline void multiply_swiglu(Team& team, const Weight& gate_up, const Activations& x, const Activations& out,
                            float* values) {
    const int64_t width = out.columns, panels = gate_up.sections[0].panels();
    for_parts(x, [&](int64_t first_row, const Activations& part) {
        const int64_t fair = width / (kUnitsPerThread * team.threads());
        const int64_t near = kGateUpBytes / (2 * std::max<int64_t>(part.rows, 1) * sizeof(float));
        const int64_t columns = std::clamp(std::min(fair, near) / kBlock * kBlock, (int64_t)kBlock, kUnitColumns);
        const int64_t stride = 2 * columns + kPanel;  // not a power of two, so that rows do not share cache sets
        team.run((width + columns - 1) / columns, 1, [&](int64_t first, int64_t last) {
            static thread_local Scratch scratch, products;
            float* gate = products.of<float>(part.rows * stride);
            for (int64_t unit = first; unit < last; unit++) {
                const int64_t column = unit * columns, count = std::min(columns, width - column);
                const int64_t from = column / kPanel, to = std::min(from + columns / kPanel, panels);
                const uint8_t* up_panel = panel_of(gate_up, panels + from).data;
                const uint8_t* next_gate_panel = panel_of(gate_up, to).data;
                multiply_panels(gate_up, from, to, part, gate, stride, scratch, up_panel);
                multiply_panels(gate_up, panels + from, panels + to, part, gate + columns, stride, scratch,
                                next_gate_panel);
                for (int64_t row = 0; row < part.rows; row++) {
                    float* own = gate + row * stride;
                    for (int64_t i = 0; i < count; i += kLanes) store(own + i, silu_mul(own + i, own + columns + i));
                }
                for (int64_t row = 0; row < part.rows; row++) {
                    const float* own = gate + row * stride;
                    quantize(own, count, out, first_row + row, column);
                    if (values) std::memcpy(values + (first_row + row) * width + column, own, count * sizeof(float));
                }
            }
        });
    });
}

}  // namespace marcot
