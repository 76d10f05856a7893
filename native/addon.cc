// The Node-API add-on: picks an instruction set, owns an executor thread and its helpers, runs command streams in order,
// and answers reads without blocking the event loop. Nothing is shared between environments (workers).
#include <node_api.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"

#define MK_SET(isa)                                                        \
  namespace isa {                                                          \
  extern const i32 kernelCount;                                            \
  const char* kernelName(i32);                                             \
  void execute(Runtime*, const double*, i64);                              \
  }
#if defined(__x86_64__)
MK_SET(mk_baseline) MK_SET(mk_avx2) MK_SET(mk_avx512)
#elif defined(__aarch64__)
MK_SET(mk_neon)
#else
MK_SET(mk_baseline)
#endif

namespace {

struct InstructionSet {
  const char* name;
  bool (*present)();
  void (*execute)(Runtime*, const double*, i64);
  const char* (*kernelName)(i32);
  i32 kernelCount;
};

#define MK_USE(label, isa, test) \
  { label, []() -> bool { return test; }, isa::execute, isa::kernelName, isa::kernelCount }

/// From the widest to the narrowest.
const std::vector<InstructionSet>& instructionSets() {
  static const std::vector<InstructionSet> sets = {
#if defined(__x86_64__)
      MK_USE("avx512", mk_avx512,
             __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")),
      MK_USE("avx2", mk_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")),
      MK_USE("baseline", mk_baseline, true),
#elif defined(__aarch64__)
      MK_USE("neon", mk_neon, true),
#else
      MK_USE("baseline", mk_baseline, true),
#endif
  };
  return sets;
}

/// Threads that share the tasks of one kernel at a time. Helpers spin for a moment, then sleep; one that wakes late finds
/// nothing left and does no harm, so a short kernel never waits for it.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int t = 1; t < threads; t++) helpers_.emplace_back([this, t] { help(t); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (auto& helper : helpers_) helper.join();
  }

  void run(i64 count, void (*body)(void*, i64, i32), void* context) {
    const u64 tag = ++generation_ << kIndexBits;
    body_ = body;
    context_ = context;
    done_.store(0, std::memory_order_relaxed);
    limit_.store(tag | static_cast<u64>(count), std::memory_order_relaxed);
    next_.store(tag, std::memory_order_release);
    if (sleepers_.load() > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    work(0);
    for (int spins = 0; done_.load(std::memory_order_acquire) < count;)
      if (++spins > 4000) std::this_thread::yield();
  }

 private:
  /// Tasks are claimed as (generation, index), so that a late helper cannot claim one of a job it has not seen.
  static constexpr int kIndexBits = 40;

  /// Returns whether it did anything.
  bool work(i32 thread) {
    bool worked = false;
    for (;;) {
      const u64 claim = next_.fetch_add(1, std::memory_order_acq_rel);
      const u64 limit = limit_.load(std::memory_order_acquire);
      if ((claim ^ limit) >> kIndexBits || claim >= limit) return worked;
      body_(context_, static_cast<i64>(claim & ((u64(1) << kIndexBits) - 1)), thread);
      done_.fetch_add(1, std::memory_order_acq_rel);
      worked = true;
    }
  }
  bool pending() const {
    const u64 next = next_.load(std::memory_order_acquire);
    const u64 limit = limit_.load(std::memory_order_acquire);
    return !((next ^ limit) >> kIndexBits) && next < limit;
  }
  void help(i32 thread) {
    int idle = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
      if (pending() && work(thread)) {
        idle = 0;
      } else if (++idle < kSpins) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      } else {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return stopping_.load() || pending(); });
        sleepers_.fetch_sub(1);
        idle = 0;
      }
    }
  }
  static constexpr int kSpins = 3000;

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> sleepers_{0};
  std::atomic<u64> next_{0};
  std::atomic<u64> limit_{0};
  std::atomic<i64> done_{0};
  u64 generation_ = 0;
  void (*body_)(void*, i64, i32) = nullptr;
  void* context_ = nullptr;
};

char* allocateAligned(size_t bytes) {
  void* p = nullptr;
  return posix_memalign(&p, 64, bytes < 64 ? 64 : bytes) == 0 ? static_cast<char*>(p) : nullptr;
}

/// One queue over this machine's memory. Jobs run in order on the executor thread.
class Engine {
 public:
  Engine(const InstructionSet& set, int threads) : set_(set), pool_(threads) {
    runtime_.base.threads = threads;
    runtime_.base.parallel = [](Runtime* r, i64 count, void (*body)(void*, i64, i32), void* context) {
      reinterpret_cast<OwnedRuntime*>(r)->engine->pool_.run(count, body, context);
    };
    runtime_.base.scratch = [](Runtime* r, i32 slot, i64 bytes) {
      return reinterpret_cast<OwnedRuntime*>(r)->engine->scratch(slot, bytes);
    };
    runtime_.base.error = {};
    runtime_.engine = this;
    scratch_.resize(SHARED_SLOTS + static_cast<size_t>(threads) * THREAD_SLOTS);
    executor_ = std::thread([this] { loop(); });
  }
  ~Engine() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_one();
    executor_.join();
    for (auto& s : scratch_) std::free(s.data);
  }
  void post(std::function<void()> job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    ready_.notify_one();
  }
  void run(const double* words, i64 count) { set_.execute(&runtime_.base, words, count); }
  KernelError takeError() {
    const KernelError e = runtime_.base.error;
    runtime_.base.error = {};
    return e;
  }
  const InstructionSet& set() const { return set_; }

 private:
  struct OwnedRuntime {
    Runtime base;
    Engine* engine;
  };
  struct Scratch {
    char* data = nullptr;
    i64 bytes = 0;
  };

  /// Each slot is asked for by one thread at a time, so no lock is needed.
  char* scratch(i32 slot, i64 bytes) {
    Scratch& s = scratch_[slot];
    if (s.bytes < bytes) {
      std::free(s.data);
      s.bytes = bytes + bytes / 4;
      s.data = allocateAligned(s.bytes);
      if (!s.data) std::abort();
    }
    return s.data;
  }
  void loop() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        ready_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  const InstructionSet& set_;
  Pool pool_;
  OwnedRuntime runtime_;
  std::vector<Scratch> scratch_;
  std::thread executor_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
};

#define CHECK(call)                                                     \
  do {                                                                  \
    if ((call) != napi_ok) {                                            \
      napi_throw_error(env, nullptr, "mambakit add-on: " #call " failed"); \
      return nullptr;                                                   \
    }                                                                   \
  } while (0)

struct Arguments {
  napi_value value[6];
  size_t count = 6;
  bool read(napi_env env, napi_callback_info info) {
    return napi_get_cb_info(env, info, &count, value, nullptr, nullptr) == napi_ok;
  }
};

double number(napi_env env, napi_value value) {
  double d = 0;
  napi_get_value_double(env, value, &d);
  return d;
}
char* address(napi_env env, napi_value value) {
  return reinterpret_cast<char*>(static_cast<uintptr_t>(number(env, value)));
}
napi_value makeNumber(napi_env env, double d) {
  napi_value v;
  return napi_create_double(env, d, &v) == napi_ok ? v : nullptr;
}

/// Engines of one environment, so that a worker that exits takes its own down and no other's.
struct Environment {
  std::vector<std::unique_ptr<Engine>> engines;
};
Environment* environmentOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Environment*>(data);
}
Engine* engineOf(napi_env env, napi_value id) {
  auto& engines = environmentOf(env)->engines;
  const size_t i = static_cast<size_t>(number(env, id));
  return i < engines.size() ? engines[i].get() : nullptr;
}
#define ENGINE(args)                                                     \
  Engine* engine = engineOf(env, (args).value[0]);                       \
  if (!engine) {                                                         \
    napi_throw_error(env, nullptr, "mambakit add-on: the device is closed"); \
    return nullptr;                                                      \
  }

/// create(threads, instructionSet or '') -> engine id; throws where the machine lacks the set.
napi_value create(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  char wanted[32] = "";
  size_t length = 0;
  napi_get_value_string_utf8(env, args.value[1], wanted, sizeof wanted, &length);
  for (const InstructionSet& set : instructionSets()) {
    if (length > 0 ? std::strcmp(set.name, wanted) != 0 : !set.present()) continue;
    if (!set.present()) break;
    auto& engines = environmentOf(env)->engines;
    engines.push_back(std::make_unique<Engine>(set, static_cast<int>(number(env, args.value[0]))));
    return makeNumber(env, static_cast<double>(engines.size() - 1));
  }
  napi_throw_error(env, nullptr, (std::string("this processor has no instruction set '") + wanted + "'").c_str());
  return nullptr;
}

/// close(engine): waits for the queue.
napi_value closeEngine(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  environmentOf(env)->engines[static_cast<size_t>(number(env, args.value[0]))].reset();
  return nullptr;
}

/// describe(engine) -> { instructionSet, kernels }
napi_value describe(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  napi_value result, list, text;
  CHECK(napi_create_object(env, &result));
  CHECK(napi_create_array(env, &list));
  for (i32 i = 0; i < engine->set().kernelCount; i++) {
    CHECK(napi_create_string_utf8(env, engine->set().kernelName(i), NAPI_AUTO_LENGTH, &text));
    CHECK(napi_set_element(env, list, static_cast<uint32_t>(i), text));
  }
  CHECK(napi_create_string_utf8(env, engine->set().name, NAPI_AUTO_LENGTH, &text));
  CHECK(napi_set_named_property(env, result, "instructionSet", text));
  CHECK(napi_set_named_property(env, result, "kernels", list));
  return result;
}

/// allocate(bytes) -> address, 0 where there is no memory. 64-byte aligned.
napi_value allocate(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  const double bytes = number(env, args.value[0]);
  char* data = allocateAligned(static_cast<size_t>(bytes));
  int64_t total = 0;
  if (data) napi_adjust_external_memory(env, static_cast<int64_t>(bytes), &total);
  return makeNumber(env, static_cast<double>(reinterpret_cast<uintptr_t>(data)));
}

/// free(engine, address, bytes): in queue order.
napi_value freeMemory(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  char* data = address(env, args.value[1]);
  engine->post([data] { std::free(data); });
  int64_t total = 0;
  napi_adjust_external_memory(env, -static_cast<int64_t>(number(env, args.value[2])), &total);
  return nullptr;
}

/// submit(engine, words: Float64Array, count): the words are copied.
napi_value submit(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  void* data = nullptr;
  CHECK(napi_get_typedarray_info(env, args.value[1], nullptr, nullptr, &data, nullptr, nullptr));
  const double* words = static_cast<const double*>(data);
  auto copy = std::make_shared<std::vector<double>>(words, words + static_cast<size_t>(number(env, args.value[2])));
  engine->post([engine, copy] { engine->run(copy->data(), static_cast<i64>(copy->size())); });
  return nullptr;
}

/// upload(engine, address, bytes: Uint8Array): copied now, written in queue order.
napi_value upload(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  void* data = nullptr;
  size_t length = 0;
  CHECK(napi_get_typedarray_info(env, args.value[2], nullptr, &length, &data, nullptr, nullptr));
  const char* bytes = static_cast<const char*>(data);
  auto copy = std::make_shared<std::vector<char>>(bytes, bytes + length);
  char* target = address(env, args.value[1]);
  engine->post([target, copy] { std::memcpy(target, copy->data(), copy->size()); });
  return nullptr;
}

/// A read that waits for its turn in the queue, then settles a promise on the JavaScript thread.
struct Download {
  napi_deferred deferred;
  std::vector<char> bytes;
  KernelError error;
};

void settleDownload(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Download> d(static_cast<Download*>(data));
  if (!env) return;
  napi_value result, buffer, value;
  void* target = nullptr;
  napi_create_object(env, &result);
  napi_create_arraybuffer(env, d->bytes.size(), &target, &buffer);
  if (!d->bytes.empty()) std::memcpy(target, d->bytes.data(), d->bytes.size());
  napi_set_named_property(env, result, "data", buffer);
  const double fields[] = {double(d->error.code), double(d->error.opcode), double(d->error.index), double(d->error.size)};
  napi_create_array_with_length(env, 4, &value);
  for (uint32_t i = 0; i < 4; i++) napi_set_element(env, value, i, makeNumber(env, fields[i]));
  napi_set_named_property(env, result, "error", value);
  napi_resolve_deferred(env, d->deferred, result);
}

/// download(engine, address, bytes) -> Promise<{ data: ArrayBuffer, error: [code, opcode, index, size] }>
napi_value download(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  auto* d = new Download();
  napi_value promise, name;
  CHECK(napi_create_promise(env, &d->deferred, &promise));
  CHECK(napi_create_string_utf8(env, "mambakit download", NAPI_AUTO_LENGTH, &name));
  napi_threadsafe_function settle;
  CHECK(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settleDownload, &settle));
  const char* source = address(env, args.value[1]);
  d->bytes.resize(static_cast<size_t>(number(env, args.value[2])));
  engine->post([engine, d, source, settle] {
    if (!d->bytes.empty()) std::memcpy(d->bytes.data(), source, d->bytes.size());
    d->error = engine->takeError();
    napi_call_threadsafe_function(settle, d, napi_tsfn_nonblocking);
    napi_release_threadsafe_function(settle, napi_tsfn_release);
  });
  return promise;
}

/// mapFile(path) -> [address, bytes]; private, so that writes never reach the file.
napi_value mapFile(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  size_t length = 0;
  CHECK(napi_get_value_string_utf8(env, args.value[0], nullptr, 0, &length));
  std::string path(length, '\0');
  CHECK(napi_get_value_string_utf8(env, args.value[0], &path[0], length + 1, &length));
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  void* data = MAP_FAILED;
  if (file >= 0 && fstat(file, &status) == 0 && status.st_size > 0)
    data = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  if (file >= 0) close(file);
  if (data == MAP_FAILED) {
    napi_throw_error(env, nullptr, (path + ": cannot be mapped into memory").c_str());
    return nullptr;
  }
  napi_value result;
  CHECK(napi_create_array_with_length(env, 2, &result));
  CHECK(napi_set_element(env, result, 0, makeNumber(env, static_cast<double>(reinterpret_cast<uintptr_t>(data)))));
  CHECK(napi_set_element(env, result, 1, makeNumber(env, static_cast<double>(status.st_size))));
  return result;
}

/// unmapFile(engine, address, bytes): in queue order.
napi_value unmapFile(napi_env env, napi_callback_info info) {
  Arguments args;
  CHECK(args.read(env, info) ? napi_ok : napi_generic_failure);
  ENGINE(args)
  char* data = address(env, args.value[1]);
  const size_t bytes = static_cast<size_t>(number(env, args.value[2]));
  engine->post([data, bytes] { munmap(data, bytes); });
  return nullptr;
}

/// instructionSets() -> names that this processor has, widest first.
napi_value listInstructionSets(napi_env env, napi_callback_info) {
  napi_value list, text;
  CHECK(napi_create_array(env, &list));
  uint32_t n = 0;
  for (const InstructionSet& set : instructionSets()) {
    if (!set.present()) continue;
    CHECK(napi_create_string_utf8(env, set.name, NAPI_AUTO_LENGTH, &text));
    CHECK(napi_set_element(env, list, n++, text));
  }
  return list;
}

}  // namespace

NAPI_MODULE_INIT() {
  auto* environment = new Environment();
  CHECK(napi_set_instance_data(env, environment, [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); }, nullptr));
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {{"create", create},     {"close", closeEngine},   {"describe", describe}, {"allocate", allocate},
                   {"free", freeMemory},   {"submit", submit},       {"upload", upload},     {"download", download},
                   {"mapFile", mapFile},   {"unmapFile", unmapFile}, {"instructionSets", listInstructionSets}};
  for (const auto& f : functions) {
    napi_value value;
    CHECK(napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.call, nullptr, &value));
    CHECK(napi_set_named_property(env, exports, f.name, value));
  }
  return exports;
}
