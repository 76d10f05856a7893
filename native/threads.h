// The add-on's thread pool: one parallel loop at a time, called by the executor thread, which works too. Waiting threads
// spin for some microseconds, then sleep.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#include "forkjoin.h"

namespace mambakit {

/// Tells the core that this is a spin loop.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins until `ready()` or until about 30 us have passed, and gives ready().
template <class Ready>
bool spinUntil(Ready&& ready) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 64; i++) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() - start < std::chrono::microseconds(30));
  return false;
}

class ThreadPool {
 public:
  /// `threads` counts the caller of run().
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; i++) workers.emplace_back([this, i] { work(i); });
  }

  ~ThreadPool() {
    quit = true;
    wake();
    for (std::thread& worker : workers) worker.join();
  }

  /// Runs body(context, task, thread) for every task in [0, count).
  void run(i64 count, void (*body)(void*, i64, i32), void* context) {
    loop.begin(count, body, context);
    if (sleepers.load() > 0) wake();
    loop.claim(0);
    for (int spins = 0; !loop.finished(); spins++) {
      if (spins < 4096) relax();
      else std::this_thread::yield();
    }
  }

 private:
  MK_ISA::ForkJoin loop;
  std::vector<std::thread> workers;
  std::atomic<int> sleepers{0};
  std::atomic<bool> quit{false};
  std::mutex mutex;
  std::condition_variable changed;

  void wake() {
    { std::lock_guard<std::mutex> lock(mutex); }
    changed.notify_all();
  }

  void work(i32 thread) {
    for (u64 last = 0;;) {
      const auto changedOrQuit = [&] { return quit || loop.epoch() != last; };
      if (!spinUntil(changedOrQuit)) {
        std::unique_lock<std::mutex> lock(mutex);
        sleepers++;
        changed.wait(lock, changedOrQuit);
        sleepers--;
      }
      if (quit) return;
      last = loop.epoch();
      loop.claim(thread);
    }
  }
};

}  // namespace mambakit
