// What a CPU kernel sees: operand views, numbers, and the runtime that gives it threads and scratch memory.
// This header and everything under native/kernels/ includes no C++ standard header and lives in one namespace per
// instruction set (MK_ISA), so that no code compiled for a wide instruction set can be linked into a narrower path.
// It compiles with GCC and Clang, natively and to WebAssembly.
#pragma once

typedef long long i64;
typedef unsigned long long u64;
typedef int i32;
typedef unsigned int u32;
typedef unsigned short u16;
typedef signed char i8;
typedef unsigned char u8;

enum Dtype : i32 { FLOAT32, FLOAT16, BFLOAT16, INT8, INT32, UINT8, BOOL };

constexpr int MAX_RANK = 6;
constexpr int MAX_OPERANDS = 32;
constexpr int MAX_NUMBERS = 16;

/// The first error that a kernel met since the host last looked; `code` 0 is none, 1 an index outside its table,
/// 2 an operand that the kernel does not take (`index` is then the operand's position).
struct KernelError {
  i32 code;
  i32 opcode;
  i64 index;
  i64 size;
};

/// Given by the host (native add-on or WebAssembly): threads, scratch, error report.
struct Runtime {
  i32 threads;
  /// Set by the host to leave the rest of a command stream undone.
  volatile i32 stop;
  /// Calls body(context, task, thread) for every task in [0, count), on any thread, and returns when all are done.
  /// Which thread runs a task is not fixed, so results must not depend on it.
  void (*parallel)(Runtime*, i64 count, void (*body)(void*, i64 task, i32 thread), void* context);
  /// Scratch memory of at least `bytes`, 64-byte aligned, kept until the next request for the same slot.
  /// Slots [0, SHARED_SLOTS) are shared by a kernel's threads; thread slots are private (see Args::scratch).
  char* (*scratch)(Runtime*, i32 slot, i64 bytes);
  KernelError error;
};

constexpr int SHARED_SLOTS = 8;
constexpr int THREAD_SLOTS = 8;

/// What one compilation of the kernels offers. `execute` runs a command stream (layout: src/backend/commands.ts), whose
/// opcodes are positions in `kernelNames`.
struct InstructionSet {
  const char* name;
  i32 kernelCount;
  const char* const* kernelNames;
  void (*execute)(Runtime*, const double* words, i64 count);
};

// Member functions and templates are weak symbols, of which the linker keeps any one: from here on everything that has
// code lies in the namespace of its instruction set.
namespace MK_ISA {

/// One operand. Strides count elements; `data` already includes the operand's offset and is null where it is absent.
struct View {
  char* data;
  i32 dtype;
  i32 rank;
  i64 dim[MAX_RANK];
  i64 stride[MAX_RANK];
  explicit operator bool() const { return data != nullptr; }
  i64 count() const {
    i64 n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i];
    return n;
  }
};

struct Args {
  View operand[MAX_OPERANDS];
  double number[MAX_NUMBERS];
  i32 opcode;
  Runtime* runtime;

  const View& operator[](int i) const { return operand[i]; }

  template <class T>
  T* shared(int slot, i64 count) const {
    return (T*)runtime->scratch(runtime, slot, count * (i64)sizeof(T));
  }
  template <class T>
  T* scratch(i32 thread, int slot, i64 count) const {
    return (T*)runtime->scratch(runtime, SHARED_SLOTS + thread * THREAD_SLOTS + slot, count * (i64)sizeof(T));
  }

  /// Runs body(task, thread) for every task in [0, count), over the pool where there is more than one.
  template <class Body>
  void parallel(i64 count, Body&& body) const {
    if (count <= 1 || runtime->threads == 1) {
      for (i64 i = 0; i < count; i++) body(i, 0);
      return;
    }
    auto call = [](void* context, i64 task, i32 thread) { (*(Body*)context)(task, thread); };
    runtime->parallel(runtime, count, call, (void*)&body);
  }

  /// Splits [0, total) into ranges of `grain` (the last may be shorter) and runs body(begin, end, thread) on each.
  template <class Body>
  void ranges(i64 total, i64 grain, Body&& body) const {
    if (grain < 1) grain = 1;
    parallel((total + grain - 1) / grain, [&](i64 task, i32 thread) {
      const i64 begin = task * grain;
      body(begin, begin + grain < total ? begin + grain : total, thread);
    });
  }

  void indexError(i64 index, i64 size) const {
    KernelError& e = runtime->error;
    if (!e.code) e = {1, opcode, index, size};
  }
  void operandError(int position) const {
    KernelError& e = runtime->error;
    if (!e.code) e = {2, opcode, position, 0};
  }
};

typedef void (*Kernel)(const Args&);

template <class T>
static inline T least(T a, T b) { return a < b ? a : b; }
template <class T>
static inline T most(T a, T b) { return a > b ? a : b; }

}  // namespace MK_ISA
