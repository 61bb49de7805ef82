// SPDX-License-Identifier: Apache-2.0
#include "fake/runtime.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fake_cuda {
namespace {

void PrintMap(std::FILE* file, const char* name, const std::map<std::string, std::int64_t>& map) {
  std::fprintf(file, ",\n  \"%s\": {", name);
  const char* separator = "";
  for (const auto& [key, count] : map) {
    std::fprintf(file, "%s\n    \"%s\": %lld", separator, key.c_str(),
                 static_cast<long long>(count));
    separator = ",";
  }
  std::fprintf(file, "}");
}

// Writes the counts as JSON to the file that PG_FAKE_CUDA_REPORT names.
void WriteReport() {
  const char* path = std::getenv("PG_FAKE_CUDA_REPORT");
  std::FILE* file = path == nullptr ? nullptr : std::fopen(path, "w");
  if (file == nullptr) return;
  PG_FAKE_LOCK;
  const Counts& counts = Get().counts;
  std::fprintf(file,
               "{\n  \"waits\": %lld,\n  \"pageable_copies\": %lld,\n  \"allocations\": %lld,\n"
               "  \"launches\": %lld,\n  \"graph_launches\": %lld",
               static_cast<long long>(counts.waits), static_cast<long long>(counts.pageable_copies),
               static_cast<long long>(counts.allocations), static_cast<long long>(counts.launches),
               static_cast<long long>(counts.graph_launches));
  PrintMap(file, "compiled", counts.compiled);
  PrintMap(file, "on_cpu", counts.on_cpu);
  std::fprintf(file, "\n}\n");
  std::fclose(file);
}

}  // namespace

State& Get() {
  static State* const state = [] {
    std::atexit(WriteReport);
    return new State;
  }();
  return *state;
}

cudaError_t Fail(cudaError_t error, const char* where) {
  std::fprintf(stderr, "fake CUDA: %s: error %d\n", where, static_cast<int>(error));
  return Get().last_error = error;
}

Stream* StreamOf(cudaStream_t stream) {
  // 0, 1 and 2 name the default streams.
  return reinterpret_cast<std::uintptr_t>(stream) <= 2 ? &Get().default_stream
                                                       : reinterpret_cast<Stream*>(stream);
}

bool IsCapturing() {
  for (const Stream* stream : Get().streams) {
    if (stream->capture != nullptr) return true;
  }
  return false;
}

cudaError_t Add(cudaStream_t stream, Work work) {
  if (Get().sticky_error != cudaSuccess) return Fail(Get().sticky_error, "the device is lost");
  Stream* own = StreamOf(stream);
  if (own->capture != nullptr) {
    own->capture->nodes.push_back(std::move(work));
  } else {
    own->queue.push_back(std::move(work));
  }
  return cudaSuccess;
}

void Run(Stream* stream) {
  while (!stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    work();
  }
}

cudaError_t Wait(Stream* stream, const char* who) {
  ++Get().counts.waits;
  if (Get().sticky_error != cudaSuccess) return Fail(Get().sticky_error, who);
  if (stream->capture != nullptr) {
    stream->capture_failed = true;
    return Fail(cudaErrorStreamCaptureUnsupported, who);
  }
  Run(stream);
  return cudaSuccess;
}

void Reach(Event* event) {
  while (!event->reached && event->stream != nullptr && !event->stream->queue.empty()) {
    const Work work = std::move(event->stream->queue.front());
    event->stream->queue.pop_front();
    work();
  }
}

}  // namespace fake_cuda

// The server ends so, which runs nothing that was registered with atexit.
extern "C" [[noreturn]] void _Exit(int code) noexcept {
  fake_cuda::WriteReport();
  ::syscall(SYS_exit_group, code);
  __builtin_unreachable();
}
