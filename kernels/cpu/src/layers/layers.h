// Runs all decoder layers in one call.
#pragma once

#include "../linear/product.h"
#include "attention.h"
#include "rowwise.h"
#include "swiglu.h"

namespace marcot {

// The weights of one layer, as Python passes them: a row of int64, most of them pointers.
struct Layer {
    const float* input_norm;
    const float* qkv_bias;  // may be null
    const float* post_attention_norm;
    const float *q_norm, *k_norm;                 // may both be null
    int64_t rope;                                 // index of its table of cosines and sines
    Weight qkv, attention_output, gate_up, down;  // the sections of gate_up are gate and up
};

// Inputs and outputs of a step; all threads read the same ones.
struct StackCall {
    const Layer* layers;
    int64_t layer_count, rows, hidden, width;
    Heads heads;
    float eps, scale;
    const float *cos, *sin;  // [tables][rows][head_dim / 2]
    const int64_t* slots;
    float *k_cache, *v_cache;
    int64_t layer_floats;  // floats of one layer in each cache
    Plan plan;
    const float* embedded;  // [rows][hidden]
    float* residual;        // [rows][hidden], an output
    float* output;          // [rows][hidden], an output
};

// Memory for the intermediate results of a step.
struct StackMemory {
    float *normed, *qkv, *q, *attended, *activated;
    uint8_t *integers, *activated_integers;  // the second while the first is still read

    static int64_t floats(const StackCall& call) {
        const int64_t q_width = call.heads.heads() * call.heads.head_dim;
        return call.rows * (call.hidden + call.heads.qkv_width() + 2 * q_width + call.width);
    }
    static int64_t integer_bytes(const StackCall& call) {
        return Activations::integer_bytes(call.rows, std::max(call.hidden, call.heads.heads() * call.heads.head_dim));
    }
    static int64_t bytes(const StackCall& call) {
        return floats(call) * sizeof(float) + 2 * 64 + integer_bytes(call) +
               Activations::integer_bytes(call.rows, call.width);
    }

    StackMemory(uint8_t* memory, const StackCall& call) {
        const int64_t q_width = call.heads.heads() * call.heads.head_dim;
        normed = (float*)memory;
        qkv = normed + call.rows * call.hidden;
        q = qkv + call.rows * call.heads.qkv_width();
        attended = q + call.rows * q_width;
        activated = attended + call.rows * q_width;
        integers = memory + (floats(call) * sizeof(float) + 63) / 64 * 64;
        activated_integers = integers + (integer_bytes(call) + 63) / 64 * 64;
    }
};

inline void run_layers(Team& team, const StackCall& call, const StackMemory& memory) {
    const float* x = call.embedded;
    const float* residual = nullptr;
    for (int64_t index = 0; index < call.layer_count; index++) {
        const Layer& layer = call.layers[index];
        float* k_pages = call.k_cache + index * call.layer_floats;
        float* v_pages = call.v_cache + index * call.layer_floats;
        // Values that are only read as integers are not stored.
        const auto stored = [](const Weight& reader, float* values) {
            return reader.has_section(false) ? values : nullptr;
        };
        const Activations for_qkv = activations_for(layer.qkv, memory.normed, call.rows, memory.integers);
        rms_norm(team, x, residual, layer.input_norm, call.eps, call.rows, call.hidden,
                 stored(layer.qkv, memory.normed), call.residual, for_qkv);
        residual = call.residual;
        multiply(team, layer.qkv, for_qkv, memory.qkv);
        const int64_t table = layer.rope * call.rows * call.heads.head_dim / 2;
        rope_store(team, memory.qkv, layer.qkv_bias, {layer.q_norm, layer.k_norm, call.eps}, call.cos + table,
                   call.sin + table, call.slots, call.rows, call.heads, k_pages, v_pages, memory.q);
        const Activations for_output =
            activations_for(layer.attention_output, memory.attended, call.rows, memory.integers);
        tree_attention(team, call.heads, call.plan, memory.q, call.rows, k_pages, v_pages, call.scale, memory.attended,
                       for_output);
        multiply(team, layer.attention_output, for_output, call.output);
        const Activations for_gate_up = activations_for(layer.gate_up, memory.normed, call.rows, memory.integers);
        rms_norm(team, call.output, residual, layer.post_attention_norm, call.eps, call.rows, call.hidden,
                 stored(layer.gate_up, memory.normed), call.residual, for_gate_up);
        const Activations for_down =
            activations_for(layer.down, memory.activated, call.rows, memory.activated_integers);
        multiply_swiglu(team, layer.gate_up, for_gate_up, for_down, stored(layer.down, memory.activated));
        multiply(team, layer.down, for_down, call.output);
        x = call.output;
    }
}

}  // namespace marcot
