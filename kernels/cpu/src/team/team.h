// The threads that run one call together. A call opens one OpenMP region. Inside it, all threads go through the same
// sequence of phases, hundreds of them in a decode step, and divide the units of work of each phase among themselves.
//
// A phase ends when all of its units are done, not when every thread has arrived. So if the system suspends a thread
// between two units, the others do not wait for it; when it resumes, it skips the phases that finished without it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace marcot {

// The state that the threads of a call share.
class Phases {
 private:
    friend class Team;
    alignas(64) std::atomic<uint64_t> next_{0};  // high half: the phase; low half: the first unit not taken yet
    alignas(64) std::atomic<int64_t> done_{0};   // finished units of the phase
    alignas(64) std::atomic<int> phase_{0};
};

// One thread's view of the team.
class Team {
 public:
    Team(Phases& shared, int thread, int threads) : shared_(shared), thread_(thread), threads_(threads) {}

    int thread() const { return thread_; }
    int threads() const { return threads_; }

    // Calls work(first, last) on ranges of units until the threads together have covered [0, units). A range has at
    // least `least` units, except at the end. Results must not depend on how the units are divided into ranges.
    template <typename Work>
    void run(int64_t units, int64_t least, const Work& work) {
        if (units <= 0) return;
        if (threads_ == 1) return work(0, units);
        const int64_t count = std::max(least, units / (kRuns * threads_));
        const int phase = phase_++;
        for (int64_t first; (first = take(phase, units, count)) < units;) {
            const int64_t last = std::min(first + count, units);
            work(first, last);
            if (shared_.done_.fetch_add(last - first, std::memory_order_acq_rel) + last - first == units)
                return end(phase);
        }
        wait(phase);
    }

 private:
    static constexpr int64_t kRuns = 4;  // ranges per thread and phase: few for low overhead, enough to balance load
    // About 50 microseconds: longer than the usual wait when every thread has a core, shorter than a time slice.
    static constexpr int kSpins = 4000;

    // Takes a range of units for this thread and returns its first unit, or `units` if none is left.
    int64_t take(int phase, int64_t units, int64_t count) {
        uint64_t next = shared_.next_.load(std::memory_order_acquire);
        while ((int)(next >> 32) == phase && (int64_t)(next & 0xffffffff) < units) {
            const uint64_t after = std::min<uint64_t>((next & 0xffffffff) + count, units);
            if (shared_.next_.compare_exchange_weak(next, (next >> 32 << 32) | after, std::memory_order_acq_rel))
                return next & 0xffffffff;
        }
        return units;
    }

    void end(int phase) {
        shared_.done_.store(0, std::memory_order_relaxed);
        shared_.next_.store((uint64_t)(phase + 1) << 32, std::memory_order_release);
        shared_.phase_.store(phase + 1, std::memory_order_release);
        shared_.phase_.notify_all();
    }

    void wait(int phase) {
        for (int spins = 0; spins < kSpins; spins++) {
            if (shared_.phase_.load(std::memory_order_acquire) > phase) return;
            pause();
        }
        // The thread with the last unit may be waiting for this very core, so stop spinning and sleep.
        for (int now; (now = shared_.phase_.load(std::memory_order_acquire)) <= phase;) shared_.phase_.wait(now);
    }

    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    Phases& shared_;
    const int thread_, threads_;
    int phase_ = 0;
};

// Calls work(team) on `threads` threads.
template <typename Work>
void run_team(int64_t threads, const Work& work) {
    Phases shared;
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads((int)threads)
        {
            Team team(shared, omp_get_thread_num(), (int)threads);
            work(team);
        }
        return;
    }
#endif
    Team team(shared, 0, 1);
    work(team);
}

}  // namespace marcot
