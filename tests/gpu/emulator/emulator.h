// SPDX-License-Identifier: Apache-2.0
// CUDA C++ on the host, for tests: each thread of a block is a fiber, and blocks run one after
// another. Everything that the hardware leaves open is chosen against the kernel: threads run in a
// shuffled order, each until it must wait; shared memory starts as NaN; asynchronous copies arrive
// at the last moment that the kernel allows, and spoil their target before.
//
// A launch fails, and LastError() names kernel, block, thread and line, if a wait cannot end, if
// the lanes of a collective disagree, or if a thread leaves others at a barrier. Under
// ThreadSanitizer each fiber is a thread of its own whose only order is what CUDA promises, so that
// a missing barrier is a data race with two stacks. AddressSanitizer checks the bounds of shared
// and of global memory.
//
// Not thread safe. A block cannot wait for another block: no launch on a card may rely on that
// either, unless it is cooperative.
#ifndef TESTS_GPU_EMULATOR_EMULATOR_H_
#define TESTS_GPU_EMULATOR_EMULATOR_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#undef __shared__
#define __shared__ use_PG_SHARED
#undef __launch_bounds__
#define __launch_bounds__(...)
#define PG_SHARED(type, name) \
  type& name = *static_cast<type*>(::emulator::SharedMemory(sizeof(type)))
// The body of a collective works on the variables of all lanes, which is no race.
#define PG_EMULATOR_RAW __attribute__((no_sanitize("thread")))

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace emulator {

using Where = std::source_location;

struct Options {
  unsigned seed = 0;  // 0: threads and blocks run in order; else they are shuffled at each barrier
};
Options& TheOptions();

// What ran since the last call.
struct Counters {
  std::int64_t launches = 0, blocks = 0, switches = 0, barriers = 0, warp_operations = 0;
};
Counters TakeCounters();

// Why the last launch failed.
const std::string& LastError();
// Ends the program with LastError().
[[noreturn]] void Abort();
// To call before the host reads what kernels wrote.
void Synchronize();

// What a launch runs.
using Thread = std::function<void()>;
cudaError_t Run(const std::string& name, dim3 grid, dim3 block, std::size_t shared_bytes,
                std::shared_ptr<const Thread> thread);

// What follows is called by running kernels only.

void* SharedMemory(std::size_t bytes);
void WaitForPredecessor();
void Barrier(Where where);

// Waits until every lane of `mask` has brought its `deposit`; then `body` runs once, with the
// deposits of all lanes. `orders`: whether the operation also orders memory among those lanes.
using Body = void (*)(void* const lanes[32], unsigned mask);
void Warp(const char* what, unsigned mask, void* deposit, Body body, bool orders, Where where);

void CopyAsync(void* to, const void* from, bool valid);
void CommitCopies();
void WaitCopies(int pending);

void Fence();
void BeforeAtomic(void* address);
void AfterAtomic(void* address);

template <typename Sum>
struct MmaSlot {
  Sum* d;
  const std::uint32_t *a, *b;
};
template <typename Sum>
void MmaBody(void* const lanes[32], unsigned mask);

struct MatrixSlot {
  std::uint16_t row[8];
  std::uint32_t* r;
};
template <bool kTransposed>
void MatrixBody(void* const lanes[32], unsigned mask);

inline int Lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) %
                          32);
}

template <typename T>
T Shuffle(const char* what, unsigned mask, T value, int source, Where where) {
  struct Slot {
    T value;
    int source;
    T result;
  } slot{value, source, value};
  const auto exchange = [](void* const lanes[32], unsigned active) PG_EMULATOR_RAW {
    for (int i = 0; i < 32; ++i) {
      if ((active >> i & 1) == 0) continue;
      auto& own = *static_cast<Slot*>(lanes[i]);
      if (own.source >= 0 && own.source < 32 && (active >> own.source & 1) != 0) {
        own.result = static_cast<Slot*>(lanes[own.source])->value;
      }
    }
  };
  Warp(what, mask, &slot, exchange, false, where);
  return slot.result;
}

// Applies `next` to *address; returns what was there.
template <typename T, typename F>
T Atomic(T* address, F next) {
  BeforeAtomic(address);
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  T value = next(old);
  while (!__atomic_compare_exchange(address, &old, &value, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
    value = next(old);
  }
  AfterAtomic(address);
  return old;
}

}  // namespace emulator

// CUDA's own names.

inline void __syncthreads(emulator::Where where = emulator::Where::current()) {
  emulator::Barrier(where);
}
inline void __syncwarp(unsigned mask = ~0u, emulator::Where where = emulator::Where::current()) {
  const auto nothing = [](void* const*, unsigned) {};
  emulator::Warp("__syncwarp", mask, nullptr, nothing, true, where);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes,
                  emulator::Where where = emulator::Where::current()) {
  return emulator::Shuffle("__shfl_xor_sync", mask, value, emulator::Lane() ^ lanes, where);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta,
                 emulator::Where where = emulator::Where::current()) {
  return emulator::Shuffle("__shfl_up_sync", mask, value, emulator::Lane() - delta, where);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source,
              emulator::Where where = emulator::Where::current()) {
  return emulator::Shuffle("__shfl_sync", mask, value, source & 31, where);
}
inline void __threadfence() { emulator::Fence(); }
template <typename T>
T atomicAdd(T* address, T value) {
  return emulator::Atomic(address, [value](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicExch(T* address, T value) {
  return emulator::Atomic(address, [value](T) { return value; });
}
template <typename T>
T atomicOr(T* address, T value) {
  return emulator::Atomic(address, [value](T old) { return static_cast<T>(old | value); });
}
template <typename T>
T atomicMax(T* address, T value) {
  return emulator::Atomic(address, [value](T old) { return std::max(old, value); });
}
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
template <typename T>
T __ldcg(const T* p) {
  return *p;
}
using std::isnan;
using std::max;
using std::min;

// A fake CUDA runtime, where one is loaded: launches then wait in its streams.
extern "C" __attribute__((weak)) int pg_fake_cuda_enqueue(cudaStream_t stream, void (*run)(void*),
                                                          void* argument);

namespace paligemma::gpu {

template <typename Sum>
void Mma(Sum (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         emulator::Where where = emulator::Where::current()) {
  emulator::MmaSlot<Sum> slot{d, a, b};
  emulator::Warp(std::is_same_v<Sum, float> ? "mma m16n8k16" : "mma m16n8k32", ~0u, &slot,
                 emulator::MmaBody<Sum>, false, where);
}

template <bool kTransposed>
void LoadMatrices(std::uint32_t (&r)[4], const void* row, emulator::Where where) {
  emulator::MatrixSlot slot;
  std::memcpy(slot.row, __builtin_assume_aligned(row, 16), 16);  // each lane reads its own row
  slot.r = r;
  emulator::Warp(kTransposed ? "ldmatrix.trans" : "ldmatrix", ~0u, &slot,
                 emulator::MatrixBody<kTransposed>, false, where);
}
inline void LoadMatrix(std::uint32_t (&r)[4], const void* row,
                       emulator::Where where = emulator::Where::current()) {
  LoadMatrices<false>(r, row, where);
}
inline void LoadMatrixTransposed(std::uint32_t (&r)[4], const void* row,
                                 emulator::Where where = emulator::Where::current()) {
  LoadMatrices<true>(r, row, where);
}

inline void CopyAsync(void* to, const void* from, bool valid) {
  emulator::CopyAsync(to, from, valid);
}
inline void CommitCopies() { emulator::CommitCopies(); }
template <int kPending>
void WaitCopies() {
  emulator::WaitCopies(kPending);
}

inline uint4 LoadStreaming(const uint4* from) { return *from; }
inline float FastTanh(float x) { return std::tanh(x); }
inline void WaitForPredecessor() { emulator::WaitForPredecessor(); }
inline void LetSuccessorStart() {}

template <typename... Parameters, typename... Arguments>
cudaError_t Launch(void (*kernel)(Parameters...), dim3 grid, int threads, std::size_t shared_bytes,
                   cudaStream_t stream, Arguments&&... arguments) {
  const std::tuple<std::decay_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  const auto run = [name = std::string(__PRETTY_FUNCTION__), kernel, grid, threads, shared_bytes,
                    values] {
    const auto thread = [kernel, values] { std::apply(kernel, values); };
    return emulator::Run(name, grid, dim3(threads), shared_bytes,
                         std::make_shared<const emulator::Thread>(thread));
  };
  if (pg_fake_cuda_enqueue == nullptr) return run();
  const auto enqueued = [](void* closure) {
    if ((*static_cast<decltype(run)*>(closure))() != cudaSuccess) emulator::Abort();
  };
  // A graph may run the closure again at any time, so it is never freed.
  return static_cast<cudaError_t>(pg_fake_cuda_enqueue(stream, enqueued, new auto(run)));
}

}  // namespace paligemma::gpu

#endif  // TESTS_GPU_EMULATOR_EMULATOR_H_
