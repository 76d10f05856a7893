// Memory, queue and executor of the native device (see device.h).
#include "device.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace mambakit {

namespace {

/// From this size on memory comes in whole pages.
constexpr u64 LARGE = u64(1) << 17;
constexpr u64 LARGE_STEP = u64(1) << 16;
constexpr u64 HUGE_PAGE = u64(1) << 21;
/// What one thread reads of a file at a time: neighbours are then on their way together.
constexpr u64 READ_STEP = u64(1) << 21;

u64 roundUp(u64 bytes, u64 step) { return (bytes + step - 1) / step * step; }

/// Whole pages from the system, so that freeing gives them back at once. Large pieces start at a huge page.
char* mapPages(u64 bytes) {
  const u64 slack = bytes >= HUGE_PAGE ? HUGE_PAGE : 0;
  void* const mapped =
      mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const begin = (char*)mapped;
  char* const aligned = slack ? (char*)roundUp((u64)begin, HUGE_PAGE) : begin;
  if (aligned > begin) munmap(begin, (u64)(aligned - begin));
  if (aligned - begin < (std::ptrdiff_t)slack) munmap(aligned + bytes, slack - (u64)(aligned - begin));
#ifdef MADV_HUGEPAGE
  if (slack) madvise(aligned, bytes, MADV_HUGEPAGE);
#endif
  return aligned;
}

void freePages(char* address, u64 bytes) {
  if (bytes >= LARGE) munmap(address, bytes);
  else std::free(address);
}

}  // namespace

Device::Device(const InstructionSet& isa, int threads)
    : isa(isa), pool(threads), scratchSlots((size_t)(SHARED_SLOTS + threads * THREAD_SLOTS)) {
  runtime.threads = threads;
  runtime.stop = 0;
  runtime.error = {};
  runtime.device = this;
  runtime.parallel = [](Runtime* r, i64 count, void (*body)(void*, i64, i32), void* context) {
    ((Host*)r)->device->pool.run(count, body, context);
  };
  // A slot is used by one thread at a time, so only the allocation itself needs the lock it takes.
  runtime.scratch = [](Runtime* r, i32 slot, i64 bytes) {
    Device& device = *((Host*)r)->device;
    auto& [address, size] = device.scratchSlots[(size_t)slot];
    if (size < (u64)bytes) {
      if (address) device.release(address);
      size = (u64)bytes + (u64)bytes / 4;
      address = device.allocate(size);
      if (!address) std::abort();
    }
    return address;
  };
  executor = std::thread([this] { work(); });
}

Device::~Device() {
  runtime.stop = 1;
  quit = true;
  { std::lock_guard<std::mutex> lock(queueMutex); }
  queueChanged.notify_all();
  executor.join();
  for (const auto& [address, bytes] : allocations) freePages(address, bytes);
}

char* Device::allocate(u64 bytes) {
  bytes = roundUp(bytes ? bytes : 1, bytes >= LARGE ? LARGE_STEP : 64);
  char* const address = bytes >= LARGE ? mapPages(bytes) : (char*)std::aligned_alloc(64, bytes);
  if (!address) return nullptr;
  std::lock_guard<std::mutex> lock(memoryMutex);
  allocations[address] = bytes;
  return address;
}

char* Device::mapFile(const char* path, u64& bytes) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return nullptr;
  struct stat status;
  void* mapped = MAP_FAILED;
  if (fstat(file, &status) == 0 && status.st_size > 0) {
    bytes = (u64)status.st_size;
    // A small file is mapped as if it were large, so that freeing it unmaps it.
    mapped = mmap(nullptr, bytes < LARGE ? LARGE : bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  }
  close(file);
  if (mapped == MAP_FAILED) return nullptr;
  std::lock_guard<std::mutex> lock(memoryMutex);
  allocations[(char*)mapped] = bytes < LARGE ? LARGE : bytes;
  return (char*)mapped;
}

void Device::release(char* address) {
  std::lock_guard<std::mutex> lock(memoryMutex);
  const auto found = allocations.find(address);
  if (found == allocations.end()) return;
  freePages(address, found->second);
  allocations.erase(found);
}

void Device::free(char* address) {
  push([this, address] { release(address); });
}

void Device::submit(const double* words, i64 count) {
  auto copy = std::make_shared<std::vector<double>>(words, words + count);
  push([this, copy] { run(copy->data(), (i64)copy->size()); });
}

void Device::run(const double* words, i64 count) {
  if (!profiling) return isa.execute(&runtime, words, count);
  // One operation at a time: its words begin with opcode and length.
  for (const double* const end = words + count; words < end; words += (i64)words[1]) {
    const auto start = std::chrono::steady_clock::now();
    isa.execute(&runtime, words, (i64)words[1]);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::lock_guard<std::mutex> lock(timesMutex);
    OperationTime& time = times[(size_t)words[0]];
    time.seconds += taken.count();
    time.calls++;
  }
}

void Device::profile(bool on) {
  push([this, on] {
    profiling = on;
    if (!on) return;
    std::lock_guard<std::mutex> lock(timesMutex);
    times.assign((size_t)isa.kernelCount, {});
  });
}

std::vector<OperationTime> Device::profiled() {
  std::lock_guard<std::mutex> lock(timesMutex);
  return times;
}

void Device::upload(char* to, const void* bytes, u64 count) {
  {
    std::lock_guard<std::mutex> lock(queueMutex);
    // Nothing is under way that could read the old bytes: they need no second copy.
    if (queue.empty() && !running) {
      std::memcpy(to, bytes, count);
      return;
    }
  }
  auto copy = std::make_shared<std::vector<char>>((const char*)bytes, (const char*)bytes + count);
  push([to, copy] { std::memcpy(to, copy->data(), copy->size()); });
}

void Device::download(void* to, const char* from, u64 count, Done done) {
  push([this, to, from, count, done] {
    // A read-back of nothing may come without addresses.
    if (count > 0) std::memcpy(to, from, count);
    const KernelError error = runtime.error;
    runtime.error = {};
    done(error);
  });
}

void Device::readFile(int file, std::vector<FileRead> reads, std::function<void(i64)> done) {
  struct Piece {
    FileRead read;
    u64 index;
  };
  auto pieces = std::make_shared<std::vector<Piece>>();
  for (size_t i = 0; i < reads.size(); i++)
    for (u64 at = 0; at < reads[i].bytes; at += READ_STEP)
      pieces->push_back({{reads[i].position + at, reads[i].to + at, std::min(READ_STEP, reads[i].bytes - at)}, i});
  push([this, file, pieces, done] {
    struct Job {
      Device& device;
      const int file;
      const std::vector<Piece>& pieces;
      std::atomic<u64> failed{~u64(0)};
    } job{*this, file, *pieces};
    const auto body = [](void* context, i64 task, i32) {
      Job& job = *(Job*)context;
      auto [read, index] = job.pieces[(size_t)task];
      while (read.bytes > 0 && !job.device.quit) {
        const ssize_t got = pread(job.file, read.to, read.bytes, (off_t)read.position);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
          // The first in the list, whichever thread was first.
          u64 first = job.failed;
          while (index < first && !job.failed.compare_exchange_weak(first, index)) continue;
          return;
        }
        read = {read.position + (u64)got, read.to + got, read.bytes - (u64)got};
      }
    };
    pool.run((i64)pieces->size(), body, &job);
    done((i64)job.failed.load());
  });
}

void Device::push(std::function<void()> run) {
  {
    std::lock_guard<std::mutex> lock(queueMutex);
    queue.push_back(std::move(run));
    queued.store(queue.size());
  }
  queueChanged.notify_one();
}

void Device::work() {
  std::vector<std::function<void()>> taken;
  for (;;) {
    const auto ready = [this] { return quit || queued.load() > 0; };
    spinUntil(ready);
    {
      std::unique_lock<std::mutex> lock(queueMutex);
      queueChanged.wait(lock, ready);
      taken.swap(queue);
      queued.store(0);
      running = true;
    }
    for (std::function<void()>& run : taken) {
      if (quit) return;
      run();
      run = nullptr;
    }
    if (quit) return;
    taken.clear();
    std::lock_guard<std::mutex> lock(queueMutex);
    running = false;
  }
}

}  // namespace mambakit
