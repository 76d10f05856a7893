// The Node-API surface of the native device: devices as opaque handles, addresses as numbers, read-backs as promises.
// Every environment (main thread or worker) has its own devices; they end with it.
#include <cerrno>
#include <cstring>
#include <string>
#include "device.h"
#include "node_api.h"

namespace {

using mambakit::Device;

/// A promise that the executor keeps: of a read-back into `buffer`, or, where that is null, of reads of a file.
struct Download {
  napi_deferred deferred;
  napi_ref buffer;
  KernelError error;
  /// The first read that came short, or -1.
  i64 failed;
};

/// A device together with what ties it to its environment.
struct Handle {
  napi_env env;
  std::unique_ptr<Device> device;
  napi_threadsafe_function settled;
  int pending = 0;
};

napi_value fail(napi_env env, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, nullptr, message.c_str());
  return nullptr;
}

napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

napi_value text(napi_env env, const char* value) {
  napi_value result;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value list(napi_env env, const char* const* names, size_t count) {
  napi_value result;
  napi_create_array_with_length(env, count, &result);
  for (size_t i = 0; i < count; i++) napi_set_element(env, result, (uint32_t)i, text(env, names[i]));
  return result;
}

/// The arguments of one call. A wrong type leaves `valid` false.
struct Call {
  napi_env env;
  napi_value values[4] = {};
  bool valid = true;

  Call(napi_env env, napi_callback_info info) : env(env) {
    size_t count = 4;
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
  double number(int i) {
    double value = 0;
    valid &= napi_get_value_double(env, values[i], &value) == napi_ok;
    return value;
  }
  char* address(int i) { return (char*)(uintptr_t)number(i); }
  std::string text(int i) {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, values[i], nullptr, 0, &length) != napi_ok) return "";
    std::string value(length, '\0');
    napi_get_value_string_utf8(env, values[i], &value[0], length + 1, &length);
    return value;
  }
  Handle* handle() {
    void* data = nullptr;
    valid &= napi_get_value_external(env, values[0], &data) == napi_ok;
    Handle* const handle = (Handle*)data;
    valid &= handle && handle->device;
    return handle;
  }
  /// The bytes of a typed array.
  void* bytes(int i, size_t& length) {
    napi_typedarray_type type;
    void* data = nullptr;
    size_t count = 0;
    length = 0;
    if (napi_get_typedarray_info(env, values[i], &type, &count, &data, nullptr, nullptr) != napi_ok) {
      valid = false;
      return nullptr;
    }
    length = type == napi_float64_array ? count * 8 : count;
    valid &= type == napi_float64_array || type == napi_uint8_array;
    return data;
  }
  napi_value invalid(const char* function) {
    return fail(env, std::string(function) + ": wrong arguments, or the device is closed");
  }
};

/// Joins the device's threads; the handle stays and refuses further calls.
void stop(void* data) { ((Handle*)data)->device.reset(); }

void settle(napi_env env, napi_value, void* context, void* data) {
  Handle* const handle = (Handle*)context;
  std::unique_ptr<Download> download((Download*)data);
  if (!env) return;
  if (--handle->pending == 0) napi_unref_threadsafe_function(env, handle->settled);
  if (!download->buffer) {
    napi_resolve_deferred(env, download->deferred, number(env, (double)download->failed));
    return;
  }
  napi_value result, buffer, error;
  napi_create_object(env, &result);
  napi_get_reference_value(env, download->buffer, &buffer);
  napi_delete_reference(env, download->buffer);
  napi_set_named_property(env, result, "buffer", buffer);
  const KernelError& met = download->error;
  napi_create_object(env, &error);
  napi_set_named_property(env, error, "code", number(env, met.code));
  napi_set_named_property(env, error, "opcode", number(env, met.opcode));
  napi_set_named_property(env, error, "index", number(env, (double)met.index));
  napi_set_named_property(env, error, "size", number(env, (double)met.size));
  napi_set_named_property(env, result, "error", error);
  napi_resolve_deferred(env, download->deferred, result);
}

/// A promise that `download` will be settled by, which keeps the process alive.
napi_value promise(Handle* handle, Download* download) {
  napi_value result;
  napi_create_promise(handle->env, &download->deferred, &result);
  if (handle->pending++ == 0) napi_ref_threadsafe_function(handle->env, handle->settled);
  return result;
}

void close(Handle* handle) {
  if (!handle->device) return;
  napi_remove_env_cleanup_hook(handle->env, stop, handle);
  stop(handle);
  napi_release_threadsafe_function(handle->settled, napi_tsfn_abort);
}

/// create(threads, instruction set or '') -> handle
napi_value create(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int threads = (int)call.number(0);
  const std::string name = call.text(1);
  if (!call.valid || threads < 1 || threads > 1024) return call.invalid("create");
  const InstructionSet* const isa = mambakit::chooseInstructionSet(name.c_str());
  if (!isa) return fail(env, "this machine lacks the instruction set '" + name + "'");
  Handle* const handle = new Handle{env, nullptr, nullptr};
  napi_create_threadsafe_function(env, nullptr, nullptr, text(env, "mambakit"), 0, 1, nullptr, nullptr, handle, settle,
                                  &handle->settled);
  napi_unref_threadsafe_function(env, handle->settled);
  handle->device.reset(new Device(*isa, threads));
  // Hooks run in reverse order: the threads stop before Node closes the function that they call.
  napi_add_env_cleanup_hook(env, stop, handle);
  napi_value result;
  const auto collected = [](napi_env, void* data, void*) {
    close((Handle*)data);
    delete (Handle*)data;
  };
  napi_create_external(env, handle, collected, nullptr, &result);
  return result;
}

/// allocate(handle, bytes) -> address, 0 where the system has no memory
napi_value allocate(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  const double bytes = call.number(1);
  if (!call.valid || !(bytes >= 0) || bytes > 0x1p47) return call.invalid("allocate");
  char* const address = handle->device->allocate((u64)bytes);
  int64_t total;
  if (address) napi_adjust_external_memory(env, (int64_t)bytes, &total);
  return number(env, (double)(uintptr_t)address);
}

/// free(handle, address, bytes as allocated)
napi_value release(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  char* const address = call.address(1);
  const double bytes = call.number(2);
  if (!call.valid) return call.invalid("free");
  handle->device->free(address);
  int64_t total;
  napi_adjust_external_memory(env, -(int64_t)bytes, &total);
  return nullptr;
}

/// mapFile(handle, path) -> [address, bytes]
napi_value mapFile(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  const std::string path = call.text(1);
  if (!call.valid) return call.invalid("mapFile");
  u64 bytes = 0;
  errno = 0;
  char* const address = handle->device->mapFile(path.c_str(), bytes);
  if (!address) return fail(env, errno ? std::strerror(errno) : "the file is empty");
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, number(env, (double)(uintptr_t)address));
  napi_set_element(env, result, 1, number(env, (double)bytes));
  return result;
}

/// submit(handle, Float64Array, count)
napi_value submit(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  size_t length;
  const double* const words = (const double*)call.bytes(1, length);
  const double count = call.number(2);
  if (!call.valid || !(count >= 0) || count * 8 > (double)length) return call.invalid("submit");
  handle->device->submit(words, (i64)count);
  return nullptr;
}

/// upload(handle, address, Uint8Array)
napi_value upload(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  char* const to = call.address(1);
  size_t length;
  const void* const bytes = call.bytes(2, length);
  if (!call.valid) return call.invalid("upload");
  handle->device->upload(to, bytes, length);
  return nullptr;
}

/// download(handle, address, bytes) -> Promise<{ buffer, error: { code, opcode, index, size } }>
napi_value download(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  const char* const from = call.address(1);
  const double bytes = call.number(2);
  if (!call.valid || !(bytes >= 0)) return call.invalid("download");
  Download* const download = new Download{};
  void* to = nullptr;
  napi_value buffer;
  // The reference keeps the buffer, and thereby its memory, until the promise is settled.
  if (napi_create_arraybuffer(env, (size_t)bytes, &to, &buffer) != napi_ok) {
    delete download;
    return fail(env, "no memory for a host copy of " + std::to_string((u64)bytes) + " bytes");
  }
  napi_create_reference(env, buffer, 1, &download->buffer);
  const napi_value result = promise(handle, download);
  handle->device->download(to, from, (u64)bytes, [handle, download](const KernelError& error) {
    download->error = error;
    napi_call_threadsafe_function(handle->settled, download, napi_tsfn_nonblocking);
  });
  return result;
}

/// readFile(handle, descriptor, Float64Array of [position, address, bytes]s) -> Promise<a read that came short, or -1>
napi_value readFile(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  const int file = (int)call.number(1);
  size_t length;
  const double* const words = (const double*)call.bytes(2, length);
  if (!call.valid || length % 24 != 0) return call.invalid("readFile");
  std::vector<mambakit::FileRead> reads;
  for (const double* at = words; at < words + length / 8; at += 3)
    reads.push_back({(u64)at[0], (char*)(uintptr_t)at[1], (u64)at[2]});
  Download* const download = new Download{};
  const napi_value result = promise(handle, download);
  handle->device->readFile(file, std::move(reads), [handle, download](i64 failed) {
    download->failed = failed;
    napi_call_threadsafe_function(handle->settled, download, napi_tsfn_nonblocking);
  });
  return result;
}

/// profile(handle, 1 or 0): times operations, or no longer
napi_value profile(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  const bool on = call.number(1) != 0;
  if (!call.valid) return call.invalid("profile");
  handle->device->profile(on);
  return nullptr;
}

/// profiled(handle) -> [seconds, calls, ...] by opcode
napi_value profiled(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  if (!call.valid) return call.invalid("profiled");
  napi_value result;
  napi_create_array(env, &result);
  uint32_t at = 0;
  for (const mambakit::OperationTime& time : handle->device->profiled()) {
    napi_set_element(env, result, at++, number(env, time.seconds));
    napi_set_element(env, result, at++, number(env, time.calls));
  }
  return result;
}

/// close(handle)
napi_value closeDevice(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  if (call.valid) close(handle);
  return nullptr;
}

/// instructionSet(handle) -> name
napi_value instructionSet(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  if (!call.valid) return call.invalid("instructionSet");
  return text(env, handle->device->instructionSet().name);
}

/// kernelNames(handle) -> names by opcode
napi_value kernelNames(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Handle* const handle = call.handle();
  if (!call.valid) return call.invalid("kernelNames");
  const InstructionSet& isa = handle->device->instructionSet();
  return list(env, isa.kernelNames, (size_t)isa.kernelCount);
}

/// instructionSets() -> names that this machine runs, best first
napi_value instructionSets(napi_env env, napi_callback_info) {
  const std::vector<const char*> names = mambakit::usableInstructionSets();
  return list(env, names.data(), names.size());
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct { const char* name; napi_callback call; } functions[] = {
      {"create", create},           {"close", closeDevice},
      {"allocate", allocate},       {"free", release},
      {"mapFile", mapFile},         {"submit", submit},
      {"upload", upload},           {"download", download},
      {"readFile", readFile},
      {"profile", profile},         {"profiled", profiled},
      {"kernelNames", kernelNames}, {"instructionSet", instructionSet},
      {"instructionSets", instructionSets},
  };
  for (const auto& [name, call] : functions) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  }
  return exports;
}
