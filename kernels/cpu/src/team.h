// Threads that run one call together. A call opens one OpenMP region; inside it the threads meet at barriers of their
// own, which spin, because a decode step has hundreds of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace marcot {

class Team;

// What the threads of a region share.
class Rendezvous {
   public:
    explicit Rendezvous(int threads) : threads_(threads) {}

   private:
    friend class Team;
    const int threads_;
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) std::atomic<int> waiting_{0};
    alignas(64) std::atomic<uint32_t> round_{0};
};

// One thread's membership.
class Team {
   public:
    Team(Rendezvous& shared, int thread) : shared_(shared), thread_(thread) {}

    int thread() const { return thread_; }
    int threads() const { return shared_.threads_; }

    // Waits for every thread, then starts the counting of `take` again.
    void barrier() {
        if (shared_.threads_ == 1) {
            shared_.next_.store(0, std::memory_order_relaxed);
            return;
        }
        const uint32_t round = shared_.round_.load(std::memory_order_relaxed);
        if (shared_.waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == shared_.threads_) {
            shared_.waiting_.store(0, std::memory_order_relaxed);
            shared_.next_.store(0, std::memory_order_relaxed);
            shared_.round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; shared_.round_.load(std::memory_order_acquire) == round; spins++) {
            if (spins < kSpins)
                pause();
            else
                std::this_thread::yield();  // more threads than cores: let the others arrive
        }
    }

    // The next run of `count` units of the current phase; what lies beyond the phase's end is nobody's.
    int64_t take(int64_t count) { return shared_.next_.fetch_add(count, std::memory_order_relaxed); }

    // This thread's fixed share of `units`: [first, last).
    struct Range {
        int64_t first, last;
    };
    Range share(int64_t units) const {
        return {units * thread_ / shared_.threads_, units * (thread_ + 1) / shared_.threads_};
    }

   private:
    static constexpr int kSpins = 20000;

    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    Rendezvous& shared_;
    const int thread_;
};

// Runs `work(team)` on `threads` threads.
template <typename Work>
void run_team(int64_t threads, const Work& work) {
#ifdef _OPENMP
    if (threads > 1) {
        Rendezvous* shared = nullptr;
#pragma omp parallel num_threads((int)threads)
        {
#pragma omp single
            shared = new Rendezvous(omp_get_num_threads());  // fewer than asked for, if the system says so
            Team team(*shared, omp_get_thread_num());
            work(team);
        }
        delete shared;
        return;
    }
#else
    (void)threads;
#endif
    Rendezvous shared(1);
    Team team(shared, 0);
    work(team);
}

// Memory that one thread keeps from call to call.
class Scratch {
   public:
    ~Scratch() { ::operator delete(memory_, std::align_val_t(64)); }

    // At least `bytes` bytes, aligned to 64; the contents are lost when it grows.
    void* bytes(size_t bytes) {
        if (bytes > size_) {
            ::operator delete(memory_, std::align_val_t(64));
            memory_ = ::operator new(bytes, std::align_val_t(64));
            size_ = bytes;
        }
        return memory_;
    }

    template <typename T>
    T* of(size_t count) {
        return static_cast<T*>(bytes(count * sizeof(T)));
    }

   private:
    void* memory_ = nullptr;
    size_t size_ = 0;
};

}  // namespace marcot
