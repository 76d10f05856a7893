// The WebAssembly host of the kernels: the runtime, memory functions that the compiler calls, and, with shared memory,
// the parallel loop between the calling thread and the workers. JavaScript owns the memory (src/backend/wasm/); only
// scratch memory is taken here, by growing it.
#include "forkjoin.h"

#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

namespace wasm {

typedef decltype(sizeof 0) Size;

extern const InstructionSet instructionSet;

constexpr int MAX_THREADS = 64;
constexpr i64 PAGE = 65536;

struct Region {
  u32 address;
  u32 bytes;
};

static Runtime runtime;
static Region scratchSlots[SHARED_SLOTS + MAX_THREADS * THREAD_SLOTS];

/// Scratch regions that were replaced by larger ones, for the host to use.
constexpr u32 MAX_RETIRED = 4096;
static Region retired[MAX_RETIRED];
static u32 retiredCount;

/// A slot is used by one thread at a time, and growing is atomic.
static char* scratch(Runtime*, i32 slot, i64 bytes) {
  Region& region = scratchSlots[slot];
  if (bytes > (i64)region.bytes) {
    const i64 pages = (bytes + bytes / 4 + PAGE - 1) / PAGE;
    const Size first = pages > 65536 ? ~(Size)0 : __builtin_wasm_memory_grow(0, (Size)pages);
    if (first == ~(Size)0) __builtin_trap();
    if (region.bytes) {
      const u32 i = __atomic_fetch_add(&retiredCount, 1u, __ATOMIC_RELAXED);
      if (i < MAX_RETIRED) retired[i] = region;
    }
    region = {(u32)(first * PAGE), (u32)(pages * PAGE)};
  }
  return (char*)region.address;
}

#ifdef MK_SHARED
static ForkJoin loop;
/// What sleeping workers wait on: counts loops, and is moved on to make them look at `quit`.
static i32 signal;
static i32 quit;
/// A worker that trapped; its task will never be done.
static i32 broken;

static void parallel(Runtime*, i64 count, void (*body)(void*, i64, i32), void* context) {
  loop.begin(count, body, context);
  __atomic_fetch_add(&signal, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_notify(&signal, MAX_THREADS);
  loop.claim(0);
  while (!loop.finished())
    if (__atomic_load_n(&broken, __ATOMIC_RELAXED)) __builtin_trap();
}

/// A worker's life. Spins a little before it waits, since loops follow one another closely.
EXPORT(work) void work(i32 thread) {
  for (i32 seen = 0; !__atomic_load_n(&quit, __ATOMIC_SEQ_CST);) {
    i32 now = __atomic_load_n(&signal, __ATOMIC_SEQ_CST);
    for (int spins = 0; now == seen && spins < 2000; spins++) now = __atomic_load_n(&signal, __ATOMIC_SEQ_CST);
    if (now == seen) {
      __builtin_wasm_memory_atomic_wait32(&signal, seen, -1);
      continue;
    }
    seen = now;
    loop.claim(thread);
  }
}

EXPORT(stopWorkers) void stopWorkers() {
  __atomic_store_n(&quit, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&signal, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_notify(&signal, MAX_THREADS);
}

EXPORT(reportBroken) void reportBroken() { __atomic_store_n(&broken, 1, __ATOMIC_SEQ_CST); }
#else
static void parallel(Runtime*, i64 count, void (*body)(void*, i64, i32), void* context) {
  for (i64 i = 0; i < count; i++) body(context, i, 0);
}
#endif

EXPORT(setup) void setup(i32 threads) { runtime = {threads, 0, parallel, scratch, {}}; }

EXPORT(execute) void execute(const double* words, i32 count) { instructionSet.execute(&runtime, words, count); }

EXPORT(kernelCount) i32 kernelCount() { return instructionSet.kernelCount; }

/// Address of a kernel's name, which ends with a 0.
EXPORT(kernelName) const char* kernelName(i32 opcode) { return instructionSet.kernelNames[opcode]; }

/// Address of the error: code and opcode (int32), index and size (int64).
EXPORT(errorAddress) KernelError* errorAddress() { return &runtime.error; }

/// Address of the retired regions, pairs of address and bytes (uint32).
EXPORT(retiredAddress) Region* retiredAddress() { return retired; }

/// How many regions were retired since the last call.
EXPORT(takeRetired) u32 takeRetired() {
  const u32 count = least(retiredCount, MAX_RETIRED);
  retiredCount = 0;
  return count;
}

}  // namespace wasm

// The compiler calls these for copies and fills that it cannot expand.
extern "C" __attribute__((no_builtin)) void* memcpy(void* to, const void* from, wasm::Size count) {
  for (wasm::Size i = 0; i < count; i++) ((char*)to)[i] = ((const char*)from)[i];
  return to;
}
extern "C" __attribute__((no_builtin)) void* memset(void* to, int value, wasm::Size count) {
  for (wasm::Size i = 0; i < count; i++) ((char*)to)[i] = (char)value;
  return to;
}
