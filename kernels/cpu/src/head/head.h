// The LM head. Computes the logits of one tile of the vocabulary at a time, extracts everything needed from them in one
// pass (top k, sums, targets, draws), and discards them, so the full logits are never stored. Sums are kept per tile
// and merged in the order of tiles, so results do not depend on the number of threads, not in a single bit.
#pragma once

#include "../linear/product.h"
#include "../team/scratch.h"
#include "philox.h"

namespace marcot {

// Inputs and outputs of a call. Results whose pointers are null are not computed.
struct HeadCall {
    int64_t k;
    const int64_t* targets;    // [rows]
    const float* temperature;  // [rows]; a row with temperature 0 draws nothing
    const int64_t* key;        // [rows]
    const int64_t* position;   // [rows]
    int64_t* top_ids;          // [rows][k]
    float* top_logits;         // [rows][k]
    float* lse;                // [rows]
    float* target_logits;      // [rows]
    int64_t* drawn_ids;        // [rows]
    float* drawn_logits;       // [rows]
    float* scaled_lse;         // [rows]
};

namespace head {

constexpr int64_t kTilePanels = 32;
constexpr int64_t kTile = kTilePanels * kPanel;

// A token and its logit. Of two equal logits the lower token id comes first, which makes the order total.
struct Candidate {
    float logit;
    int64_t id;

    bool before(const Candidate& other) const { return logit > other.logit || (logit == other.logit && id < other.id); }
};

// The k best candidates so far, best first.
class Best {
 public:
    Best(Candidate* kept, int64_t k) : kept_(kept), k_(k) {}

    float threshold() const { return kept_[k_ - 1].logit; }
    void offer(const Candidate& candidate) {
        if (!candidate.before(kept_[k_ - 1])) return;
        int64_t at = k_ - 1;
        for (; at > 0 && candidate.before(kept_[at - 1]); at--) kept_[at] = kept_[at - 1];
        kept_[at] = candidate;
    }

 private:
    Candidate* kept_;
    int64_t k_;
};

// A running log-sum-exp of one tile: the largest value and the sum of exp(value - largest).
struct TileSum {
    float largest, sum;
};

inline TileSum tile_sum(const float* values, int64_t count, float temperature) {
    const F32 divisor = splat(temperature);
    F32 most = splat(kMinusInfinity);
    for (int64_t i = 0; i < count; i += kLanes) most = maximum(load<F32>(values + i) / divisor, most);
    const float largest = horizontal_max(most);
    WideSum sum;
    for (int64_t i = 0; i < count; i += kLanes) sum.add(i, exp(load<F32>(values + i) / divisor - largest));
    return {largest, sum.total()};
}

inline float merge(const TileSum* tiles, int64_t count) {
    float largest = kMinusInfinity;
    for (int64_t t = 0; t < count; t++) largest = std::max(largest, tiles[t].largest);
    double sum = 0;
    for (int64_t t = 0; t < count; t++) sum += (double)tiles[t].sum * exp(splat(tiles[t].largest - largest))[0];
    return (float)(largest + std::log(sum));
}

// The best token of a row so far under Gumbel noise: its score is logit / temperature + noise.
struct Drawn {
    float score;
    Candidate token;
};

}  // namespace head

// Memory that the threads of one call share.
struct HeadMemory {
    head::TileSum* sums;    // [rows][tiles]
    head::TileSum* scaled;  // [rows][tiles]
    head::Candidate* best;  // [threads][rows][k]
    head::Drawn* drawn;     // [threads][rows]

    static int64_t bytes(int64_t rows, int64_t tiles, int64_t k, int64_t threads) {
        return rows *
               (2 * tiles * sizeof(head::TileSum) + threads * (k * sizeof(head::Candidate) + sizeof(head::Drawn)));
    }

    HeadMemory(uint8_t* memory, int64_t rows, int64_t tiles, int64_t k, int64_t threads) {
        best = (head::Candidate*)memory;
        drawn = (head::Drawn*)(best + threads * rows * k);
        sums = (head::TileSum*)(drawn + threads * rows);
        scaled = sums + rows * tiles;
        std::fill_n(best, threads * rows * k, head::Candidate{kMinusInfinity, INT64_MAX});
        std::fill_n(drawn, threads * rows, head::Drawn{kMinusInfinity, {0, INT64_MAX}});
    }
};

inline int64_t head_tiles(const Weight& weight) {
    return (weight.panels() + head::kTilePanels - 1) / head::kTilePanels;
}

// Runs the head. The integer fields of `x` must be filled already.
inline void lm_head_topk(Team& team, const Weight& weight, const Activations& x, const HeadCall& call,
                         const HeadMemory& memory) {
    using namespace head;
    const int64_t rows = x.rows, panels = weight.panels(), tiles = head_tiles(weight);
    Candidate* own = memory.best + team.thread() * rows * call.k;
    Drawn* drawn = memory.drawn + team.thread() * rows;
    team.run(tiles, 1, [&](int64_t first_tile, int64_t last_tile) {
        static thread_local Scratch logits_memory, panel_memory;
        float* logits = logits_memory.of<float>(rows * kTile);
        for (int64_t tile = first_tile; tile < last_tile; tile++) {
            const int64_t first = tile * kTilePanels, last = std::min(first + kTilePanels, panels);
            const int64_t begin = panel_of(weight, first).first_row;
            const Panel end = panel_of(weight, last - 1);
            const int64_t count = end.first_row + end.rows - begin;
            multiply_panels(weight, first, last, x, logits, kTile, panel_memory);
            const int64_t whole = (count + kLanes - 1) / kLanes * kLanes;
            for (int64_t row = 0; row < rows; row++) {
                float* values = logits + row * kTile;
                for (int64_t i = count; i < whole; i++) values[i] = kMinusInfinity;
                const TileSum sum = tile_sum(values, whole, 1);
                memory.sums[row * tiles + tile] = sum;
                Best best(own + row * call.k, call.k);
                if (sum.largest >= best.threshold()) {
                    for (int64_t i = 0; i < count; i++)
                        if (values[i] >= best.threshold()) best.offer({values[i], begin + i});
                }
                if (call.targets) {
                    const int64_t at = call.targets[row] - begin;
                    if (at >= 0 && at < count) call.target_logits[row] = values[at];
                }
                if (call.temperature && call.temperature[row] > 0) {
                    const float temperature = call.temperature[row];
                    memory.scaled[row * tiles + tile] = tile_sum(values, whole, temperature);
                    float noise[4 * kLanes + 4];
                    const int64_t skew = begin % 4;  // tokens before the tile that share its first block
                    for (int64_t i = -skew; i < count; i += 4 * kLanes) {
                        gumbel_noise(begin + i, call.position[row], call.key[row], noise);
                        for (int64_t j = std::max<int64_t>(0, -i); j < 4 * kLanes && i + j < count; j++) {
                            const float score = values[i + j] / temperature + noise[j];
                            const Candidate token{values[i + j], begin + i + j};
                            if (score > drawn[row].score ||
                                (score == drawn[row].score && token.id < drawn[row].token.id))
                                drawn[row] = {score, token};
                        }
                    }
                }
            }
        }
    });

    const int64_t last_token = weight.rows() - 1;  // where logits are NaN, ids are still INT64_MAX
    team.run(rows, 1, [&](int64_t from, int64_t to) {
        for (int64_t row = from; row < to; row++) {
            call.lse[row] = merge(memory.sums + row * tiles, tiles);
            Candidate* kept = memory.best + row * call.k;  // merge the lists of all other threads into that of thread 0
            Best best(kept, call.k);
            Drawn winner = memory.drawn[row];
            for (int64_t thread = 1; thread < team.threads(); thread++) {
                for (int64_t i = 0; i < call.k; i++) best.offer(memory.best[(thread * rows + row) * call.k + i]);
                const Drawn& other = memory.drawn[thread * rows + row];
                if (other.score > winner.score || (other.score == winner.score && other.token.id < winner.token.id))
                    winner = other;
            }
            for (int64_t i = 0; i < call.k; i++) {
                call.top_ids[row * call.k + i] = std::min(kept[i].id, last_token);
                call.top_logits[row * call.k + i] = kept[i].logit;
            }
            if (call.temperature) {
                call.drawn_ids[row] = call.temperature[row] > 0 ? std::min(winner.token.id, last_token) : 0;
                call.drawn_logits[row] = winner.token.logit;
                call.scaled_lse[row] =
                    call.temperature[row] > 0 ? merge(memory.scaled + row * tiles, tiles) : kMinusInfinity;
            }
        }
    });
}

}  // namespace marcot
