// A parallel loop whose tasks are claimed one by one, without locks: what the add-on's and WebAssembly's threads share.
// How a thread sleeps while there is no loop is the host's affair.
#pragma once
#include "kernel.h"

namespace MK_ISA {

class ForkJoin {
 public:
  /// The number of the last loop; it changes when a new one starts.
  u64 epoch() const { return __atomic_load_n(&ticket, __ATOMIC_SEQ_CST) >> INDEX_BITS; }

  /// Opens a loop. The last one must be finished.
  void begin(i64 count, void (*body)(void*, i64, i32), void* context) {
    const u64 next = epoch() + 1;
    // A late thread that still reads the last loop finds the ticket closed and claims nothing.
    __atomic_store_n(&ticket, next << INDEX_BITS | CLOSED, __ATOMIC_SEQ_CST);
    __atomic_store_n(&loopCount, count, __ATOMIC_RELAXED);
    __atomic_store_n(&loopBody, body, __ATOMIC_RELAXED);
    __atomic_store_n(&loopContext, context, __ATOMIC_RELAXED);
    __atomic_store_n(&done, (i64)0, __ATOMIC_RELAXED);
    __atomic_store_n(&ticket, (next + 1) << INDEX_BITS, __ATOMIC_SEQ_CST);
  }

  /// Runs tasks of the present loop until none is left to claim.
  void claim(i32 thread) {
    u64 seen = __atomic_load_n(&ticket, __ATOMIC_ACQUIRE);
    const u64 loop = seen >> INDEX_BITS;
    const i64 count = __atomic_load_n(&loopCount, __ATOMIC_RELAXED);
    const auto body = __atomic_load_n(&loopBody, __ATOMIC_RELAXED);
    void* const context = __atomic_load_n(&loopContext, __ATOMIC_RELAXED);
    i64 finished = 0;
    for (;;) {
      const u64 index = seen & CLOSED;
      if (seen >> INDEX_BITS != loop || (i64)index >= count || index == CLOSED) break;
      // Succeeds only within the loop that was read above, whatever happened since.
      if (!__atomic_compare_exchange_n(&ticket, &seen, seen + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) continue;
      body(context, (i64)index, thread);
      finished++;
      seen = __atomic_load_n(&ticket, __ATOMIC_ACQUIRE);
    }
    // A loop ends only when all its claimed tasks are counted, so the count still belongs to it.
    if (finished) __atomic_fetch_add(&done, finished, __ATOMIC_RELEASE);
  }

  bool finished() const { return __atomic_load_n(&done, __ATOMIC_ACQUIRE) == loopCount; }

 private:
  // The ticket holds the loop's number and its next task, so that one compare-and-swap claims a task of this loop only.
  static constexpr int INDEX_BITS = 40;
  static constexpr u64 CLOSED = ((u64)1 << INDEX_BITS) - 1;

  alignas(64) u64 ticket = CLOSED;
  alignas(64) i64 done = 0;
  alignas(64) i64 loopCount = 0;
  void (*loopBody)(void*, i64, i32) = nullptr;
  void* loopContext = nullptr;
};

}  // namespace MK_ISA
