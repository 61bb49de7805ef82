// SPDX-License-Identifier: Apache-2.0
// The runtime's entry points about copies, streams, events and graphs.
#include <cstring>
#include <utility>
#include <vector>

#include "fake/runtime.h"

namespace {

using fake_cuda::Add;
using fake_cuda::Event;
using fake_cuda::Get;
using fake_cuda::Graph;
using fake_cuda::Stream;
using fake_cuda::StreamOf;
using fake_cuda::Wait;

bool IsPageable(const void* pointer) {
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, pointer);
  return attributes.type == cudaMemoryTypeUnregistered;
}

}  // namespace

extern "C" {

// Memory that is not pinned is read before the call returns, and written before it returns. Pinned
// memory is read late: a staging buffer that is used again too early shows.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  PG_FAKE_LOCK;
  if (kind == cudaMemcpyHostToDevice && IsPageable(from)) {
    ++Get().counts.pageable_copies;
    const auto* first = static_cast<const char*>(from);
    return Add(stream, [to, staged = std::vector<char>(first, first + bytes)] {
      std::memcpy(to, staged.data(), staged.size());
    });
  }
  const auto copy = [to, from, bytes] { std::memcpy(to, from, bytes); };
  if (kind != cudaMemcpyDeviceToHost) return Add(stream, copy);
  std::memset(to, 0xff, bytes);  // nobody may read it before a wait
  const cudaError_t added = Add(stream, copy);
  if (added != cudaSuccess || !IsPageable(to)) return added;
  ++Get().counts.pageable_copies;
  return Wait(StreamOf(stream), "cudaMemcpyAsync to memory that is not pinned");
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  PG_FAKE_LOCK;
  const cudaError_t added = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return added != cudaSuccess ? added : Wait(&Get().default_stream, "cudaMemcpy");
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  PG_FAKE_LOCK;
  return Add(stream, [to, value, bytes] { std::memset(to, value, bytes); });
}
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  PG_FAKE_LOCK;
  Get().streams.push_back(new Stream);
  *stream = reinterpret_cast<cudaStream_t>(Get().streams.back());
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  PG_FAKE_LOCK;
  fake_cuda::Run(StreamOf(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  PG_FAKE_LOCK;
  return Wait(StreamOf(stream), "cudaStreamSynchronize");
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  PG_FAKE_LOCK;
  return StreamOf(stream)->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  PG_FAKE_LOCK;
  for (Stream* stream : Get().streams) {
    const cudaError_t error = Wait(stream, "cudaDeviceSynchronize");
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
// An event is never freed: work in a queue may still name it.
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  PG_FAKE_LOCK;
  auto* own = reinterpret_cast<Event*>(event);
  own->stream = StreamOf(stream);
  own->reached = false;
  const int record = ++own->records;
  return Add(stream, [own, record] {
    if (record == own->records) own->reached = true;
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  PG_FAKE_LOCK;
  return reinterpret_cast<Event*>(event)->reached ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  PG_FAKE_LOCK;
  ++Get().counts.waits;
  if (Get().sticky_error != cudaSuccess) return fake_cuda::Fail(Get().sticky_error, "an event");
  fake_cuda::Reach(reinterpret_cast<Event*>(event));
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  PG_FAKE_LOCK;
  auto* own = reinterpret_cast<Event*>(event);
  return Add(stream, [own] { fake_cuda::Reach(own); });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  PG_FAKE_LOCK;
  std::swap(*mode, Get().capture_mode);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  PG_FAKE_LOCK;
  Stream* own = StreamOf(stream);
  if (own == &Get().default_stream) {
    return fake_cuda::Fail(cudaErrorStreamCaptureUnsupported, "capture of the default stream");
  }
  own->capture = new Graph;
  own->capture_failed = false;
  Get().capture_mode = mode;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  PG_FAKE_LOCK;
  Stream* own = StreamOf(stream);
  *graph = reinterpret_cast<cudaGraph_t>(std::exchange(own->capture, nullptr));
  return own->capture_failed
             ? fake_cuda::Fail(cudaErrorStreamCaptureInvalidated, "cudaStreamEndCapture")
             : cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  PG_FAKE_LOCK;
  *status = StreamOf(stream)->capture != nullptr ? cudaStreamCaptureStatusActive
                                                 : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges,
                                     std::size_t* count) {
  PG_FAKE_LOCK;
  cudaStreamIsCapturing(stream, status);
  Graph* own = StreamOf(stream)->capture;
  if (id != nullptr) *id = own != nullptr ? 1 : 0;
  if (graph != nullptr) *graph = reinterpret_cast<cudaGraph_t>(own);
  if (nodes != nullptr) *nodes = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (count != nullptr) *count = 0;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, std::size_t* count) {
  *count = reinterpret_cast<Graph*>(graph)->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                          unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  PG_FAKE_LOCK;
  ++Get().counts.graph_launches;
  return Add(stream, [graph = reinterpret_cast<Graph*>(executable)] {
    for (const fake_cuda::Work& work : graph->nodes) work();
  });
}
// Graphs are never freed: a launch in a queue may still name one.
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }
}
