// The native device: memory, an in-order queue, and the executor thread that runs it. Knows nothing of Node.
#pragma once
#include <functional>
#include <memory>
#include <unordered_map>
#include "threads.h"

namespace mambakit {

/// The best instruction set that this machine runs, or the one of that name; null where the machine lacks it.
const InstructionSet* chooseInstructionSet(const char* name);
/// Names of the compiled instruction sets that this machine runs, best first.
std::vector<const char*> usableInstructionSets();

struct OperationTime {
  double seconds = 0;
  double calls = 0;
};

/// Bytes of a file and where they go.
struct FileRead {
  u64 position;
  char* to;
  u64 bytes;
};

class Device {
 public:
  /// Called on the executor thread with the first kernel error since the last read-back.
  typedef std::function<void(const KernelError&)> Done;

  Device(const InstructionSet& isa, int threads);
  /// Leaves what is queued undone, joins all threads and frees all memory.
  ~Device();

  const InstructionSet& instructionSet() const { return isa; }

  /// 64-byte aligned memory, or null.
  char* allocate(u64 bytes);
  /// Maps a file copy-on-write; null where that fails (errno says why).
  char* mapFile(const char* path, u64& bytes);
  /// Gives memory back when everything queued before is done.
  void free(char* address);
  /// Queues a command stream; the words are copied.
  void submit(const double* words, i64 count);
  /// Copies host bytes, in queue order; they may change once this returns.
  void upload(char* to, const void* bytes, u64 count);
  /// Queues reads of an open file, made by all threads; `done` gets the index of a read that came short, or -1.
  void readFile(int file, std::vector<FileRead> reads, std::function<void(i64)> done);
  /// From here on in the queue, times every operation anew, or no longer.
  void profile(bool on);
  /// Seconds and calls by opcode since then, as far as the queue has come.
  std::vector<OperationTime> profiled();
  /// Queues a copy to the host; `done` is called when it has been made.
  void download(void* to, const char* from, u64 count, Done done);

 private:
  /// The runtime that kernels see, and the way back from it.
  struct Host : Runtime {
    Device* device;
  };

  const InstructionSet& isa;
  ThreadPool pool;
  Host runtime;
  std::vector<std::pair<char*, u64>> scratchSlots;

  std::mutex memoryMutex;
  std::unordered_map<char*, u64> allocations;

  /// Used by the executor alone.
  bool profiling = false;
  std::mutex timesMutex;
  std::vector<OperationTime> times;

  std::mutex queueMutex;
  std::condition_variable queueChanged;
  std::vector<std::function<void()>> queue;
  std::atomic<u64> queued{0};
  /// The executor runs what it took from the queue; guarded by queueMutex.
  bool running = false;
  std::atomic<bool> quit{false};
  std::thread executor;

  void push(std::function<void()> run);
  void work();
  void run(const double* words, i64 count);
  void release(char* address);
};

}  // namespace mambakit
