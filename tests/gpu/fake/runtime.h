// SPDX-License-Identifier: Apache-2.0
// A CUDA runtime without a GPU, to be preloaded under the real libtorch_cuda. There is one device.
// Its memory is memory of the host that starts as NaN. A stream is a queue whose work runs as late
// as it may: in the thread that waits. A graph is a list of work.
//
// Kernels arrive as closures from the emulator (pg_fake_cuda_enqueue). A compiled kernel, such as
// ATen's own, cannot run here: it is counted by its name and does nothing.
//
// One lock guards everything; work runs under it. Tests only.
#ifndef TESTS_GPU_FAKE_RUNTIME_H_
#define TESTS_GPU_FAKE_RUNTIME_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace fake_cuda {

using Work = std::function<void()>;

struct Graph {
  std::vector<Work> nodes;
};

struct Stream {
  std::deque<Work> queue;
  Graph* capture = nullptr;  // where work goes while the stream is captured
  bool capture_failed = false;
};

struct Event {
  Stream* stream = nullptr;  // null: never recorded
  bool reached = true;
  int records = 0;  // the last record is the one that counts
};

// What the program did since it started.
struct Counts {
  std::int64_t waits = 0;            // of the host for the device, a copy that waits among them
  std::int64_t pageable_copies = 0;  // between the device and memory that is not pinned
  std::int64_t allocations = 0;      // cudaMalloc and cudaHostAlloc
  std::int64_t launches = 0;         // kernels of the emulator
  std::int64_t graph_launches = 0;
  std::map<std::string, std::int64_t> compiled;  // compiled kernels, which did not run
  std::map<std::string, std::int64_t> on_cpu;    // operators that ran on the CPU (on_cpu.cc)
};

struct State {
  std::recursive_mutex lock;
  Stream default_stream;
  std::vector<Stream*> streams{&default_stream};
  std::map<const void*, std::string> kernels;  // names of the compiled kernels
  std::map<const void*, std::size_t> device_memory, pinned_memory;
  std::size_t used_bytes = 0;
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  cudaError_t last_error = cudaSuccess;
  cudaError_t sticky_error = cudaSuccess;  // the device is lost: every later call fails with it
  Counts counts;
};

// The state is made when it is first needed: libraries register their kernels before the static
// objects of this one exist.
State& Get();

// Keeps `error` as the last one and returns it. Says `where` on standard error.
cudaError_t Fail(cudaError_t error, const char* where);

Stream* StreamOf(cudaStream_t stream);
bool IsCapturing();

// Queues work, or records it where the stream is captured.
cudaError_t Add(cudaStream_t stream, Work work);

// Runs all that the stream holds. It is an error to wait for a stream that is captured.
cudaError_t Wait(Stream* stream, const char* who);
void Run(Stream* stream);

// Runs what stands before the event in its stream, and nothing behind it.
void Reach(Event* event);

#define PG_FAKE_LOCK \
  const std::lock_guard<std::recursive_mutex> pg_fake_guard(::fake_cuda::Get().lock)

}  // namespace fake_cuda

#endif  // TESTS_GPU_FAKE_RUNTIME_H_
