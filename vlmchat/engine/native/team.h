// Threads that share work, phase by phase.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr int kChunks = 32;  // of a phase at most

// Work in phases: a phase is a number of chunks that can be done in any order.
struct Work {
    virtual ~Work() = default;
    // Do what is not worth sharing, and return how many chunks the phase has; 0 ends the work.
    virtual int open(int phase) = 0;
    virtual void chunk(int phase, int index, int thread) = 0;
};

// The chunk with which a thread begins.
inline int first_chunk(int thread, int threads, int chunks) { return thread * chunks / threads; }

// Threads that take chunks: each the next of its own share, and when that is done the last of what
// is left. Nobody waits for a thread that the system has set aside, unless it is in the middle of
// a chunk; whoever ends a phase's last chunk opens the next phase.
class Team {
  public:
    ~Team() { resize(1); }

    int size() const { return static_cast<int>(helpers_.size()) + 1; }

    int resize(int threads) {
        std::lock_guard<std::mutex> alone(using_);
        if (threads == size()) return size();
        {
            std::lock_guard<std::mutex> lock(sleeping_);
            leaving_ = true;
        }
        wake_.notify_all();
        for (std::thread& helper : helpers_) helper.join();
        helpers_.clear();
        leaving_ = false;
        try {
            while (size() < threads) helpers_.emplace_back(&Team::help, this, size());
        } catch (const std::system_error&) {
            // The system gives no more threads: fewer do the work.
        }
        return size();
    }

    void run(Work& work) {
        std::lock_guard<std::mutex> alone(using_);
        work_ = &work;
        phase_ = -1;
        running_ = true;
        advance();
        if (sleepers_ > 0) {
            { std::lock_guard<std::mutex> lock(sleeping_); }
            wake_.notify_all();
        }
        for (int idle = 0; running_.load(std::memory_order_acquire);)
            idle = take(0) ? 0 : waited(idle);
    }

  private:
    static constexpr int kSpins = 400, kYields = 200;

    // Wait a moment, and longer if nothing happened for a while.
    static int waited(int idle) {
        if (idle < kSpins)
            _mm_pause();
        else
            std::this_thread::yield();  // somebody else may need the core more
        return idle + 1;
    }

    void help(int thread) {
        for (int idle = 0; !leaving_.load(std::memory_order_acquire);) {
            idle = take(thread) ? 0 : waited(idle);
            if (idle < kSpins + kYields || running_) continue;
            std::unique_lock<std::mutex> lock(sleeping_);
            sleepers_++;
            wake_.wait(lock, [this] { return running_ || leaving_; });
            sleepers_--;
            idle = 0;
        }
    }

    // Do a chunk, and return whether there was one.
    bool take(int thread) {
        uint64_t open = open_.load(std::memory_order_acquire);
        while (static_cast<uint32_t>(open) != 0) {
            const uint32_t left = static_cast<uint32_t>(open);
            // Only a hint while nothing is claimed: the next phase may be open by now.
            const int own = starts_[std::min(thread, kChunks)].load(std::memory_order_relaxed);
            const int end = starts_[std::min(thread, kChunks) + 1].load(std::memory_order_relaxed);
            const uint32_t mine = left & ((uint64_t{1} << end) - (uint64_t{1} << own));
            const int index = mine != 0 ? __builtin_ctz(mine) : 31 - __builtin_clz(left);
            // The number of the phase is compared too: who was away for long takes nothing stale.
            const uint64_t without = open & ~(uint64_t{1} << index);
            if (!open_.compare_exchange_weak(open, without, std::memory_order_acq_rel)) continue;
            work_->chunk(phase_, index, thread);
            // From here on the work may be over, and gone.
            if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) advance();
            return true;
        }
        return false;
    }

    void advance() {
        const int count = work_->open(++phase_);
        if (count == 0) {
            running_.store(false, std::memory_order_release);
            return;
        }
        const int threads = size();
        if (count != count_ || threads != threads_) divide(count, threads);
        unfinished_.store(count, std::memory_order_relaxed);
        const uint64_t all = (uint64_t{1} << count) - 1;
        open_.store(++number_ << 32 | all, std::memory_order_release);
    }

    // Write down where the share of each thread begins.
    void divide(int count, int threads) {
        count_ = count;
        threads_ = threads;
        for (int thread = 0; thread < kChunks + 2; thread++) {
            const int start = first_chunk(std::min(thread, threads), threads, count);
            starts_[thread].store(start, std::memory_order_relaxed);
        }
    }

    std::vector<std::thread> helpers_;
    std::mutex using_, sleeping_;
    std::condition_variable wake_;
    std::atomic<int> sleepers_{0};
    std::atomic<bool> running_{false}, leaving_{false};
    std::atomic<int> starts_[kChunks + 2] = {};
    Work* work_ = nullptr;  // this and the next two lines change only while no chunk is being done
    int phase_ = 0, count_ = 0, threads_ = 0;
    uint64_t number_ = 0;                        // of all phases ever
    alignas(64) std::atomic<uint64_t> open_{0};  // its number << 32 | a bit for each chunk left
    alignas(64) std::atomic<int> unfinished_{0};
};

}  // namespace
