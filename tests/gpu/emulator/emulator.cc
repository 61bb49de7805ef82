// SPDX-License-Identifier: Apache-2.0
// Compiled without ThreadSanitizer's instrumentation and without built-in memcpy, so that the
// copies it makes for a kernel are seen as the running thread's.
#include "core/gpu/device.h"
//
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>
#include <vector>

#include "emulator/fiber.h"

namespace emulator {
namespace {

#if defined(PG_EMULATOR_TSAN)
constexpr bool kKeepsAllMemory = true;  // until the host waits: blocks and launches are unordered
#else
constexpr bool kKeepsAllMemory = false;
#endif
constexpr std::size_t kMaxThreads = 1024, kMaxShared = 227 * 1024, kMaxGridYz = 65535;

struct Copy {
  void* to;
  const void* from;
  bool valid;
};

void RunThread();

// A CUDA thread.
struct Fiber {
  Context context{&RunThread};
  enum State { kReady, kBarrier, kWarp, kDone } state = kDone;
  uint3 index{};
  int number = 0;
  // Where it waits.
  const char* what = "";
  Where where{};
  unsigned mask = 0;
  void* deposit = nullptr;
  // Asynchronous copies: groups that were committed, and the open one.
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
  // For what a fence and an atomic operation order.
  bool fenced = false;
  void* atomic = nullptr;
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> threads;  // of the block that runs
  // Fibers push to these, so they never grow then: ThreadSanitizer would see it.
  std::vector<Fiber*> ready, now;
  Fiber* current = nullptr;
  const Thread* body = nullptr;
  char* shared = nullptr;
  std::size_t shared_bytes = 0;
  int arrived = 0, barrier_generation = 0, warp_generation[32] = {};
  // Addresses that stand for the order that a barrier and a warp give, alternately.
  struct Tokens {
    char barrier[2], warp[32][2];
  };
  Tokens* tokens = nullptr;
  std::vector<void*> kept;  // memory of blocks
  // A launch begins after the host's work (`start`) and, from WaitForPredecessor() on, after the
  // launch before it.
  char start = 0;
  char *before = nullptr, *end = nullptr;
  std::vector<std::unique_ptr<char>> ends;
  std::vector<std::shared_ptr<const Thread>> closures;
  bool failed = false;
  std::string error, name;
  Counters counters;
  std::mt19937 random;
  std::mt19937 placement;  // which fiber serves a thread, where that matters; never seeded again
} m;

void ToMain() { m.current->context.Leave(); }

void ToFiber(Fiber* fiber) {
  m.current = fiber;
  threadIdx = fiber->index;
  ++m.counters.switches;
  fiber->context.Enter();
  m.current = nullptr;
}

void RunThread() {
  Arrived();
  for (;;) {
    __tsan_acquire(&m.start);
    (*m.body)();
    // Copies that nobody waited for are allowed: nobody reads their target.
    m.current->open.clear();
    m.current->groups.clear();
    __tsan_release(m.end);
    m.current->state = Fiber::kDone;
    ToMain();
  }
}

std::string Place(const Fiber& fiber) {
  std::ostringstream text;
  text << "thread " << fiber.number << " at " << fiber.what << " (" << fiber.where.file_name()
       << ":" << fiber.where.line() << ")";
  return text.str();
}

// In a running thread ToMain() follows, which does not return then: the statement that calls this
// has to end first, so that its temporaries are freed.
void Fail(const std::string& why) {
  std::ostringstream text;
  text << why << "; block " << blockIdx.x << "," << blockIdx.y << "," << blockIdx.z << " of "
       << m.name;
  m.error = text.str();
  m.failed = true;
}

void MakeReady(Fiber* fiber) {
  fiber->state = Fiber::kReady;
  m.ready.push_back(fiber);
}

void DoCopy(const Copy& copy) {
  const Loud loud;
  if (copy.valid) {
    std::memcpy(copy.to, copy.from, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

// Why the block stands still.
void ExplainDeadlock() {
  const Fiber *done = nullptr, *waits = nullptr, *other = nullptr;
  for (const Fiber* fiber : m.threads) {
    if (fiber->state == Fiber::kDone) {
      done = fiber;
    } else if (waits == nullptr) {
      waits = fiber;
    } else if (std::string(fiber->what) != waits->what ||
               fiber->where.line() != waits->where.line()) {
      other = fiber;
    }
  }
  std::string why = Place(*waits) + " waits for ever";
  if (other != nullptr) why += ", " + Place(*other) + " too";
  if (done != nullptr) why += ", thread " + std::to_string(done->number) + " has left the kernel";
  Fail(why);
}

// Memory full of NaN, whatever the type. It has exactly this size: AddressSanitizer knows its end.
void* Keep(std::size_t bytes) {
  if (!kKeepsAllMemory && m.kept.size() > 1) {
    std::free(m.kept.front());
    m.kept.erase(m.kept.begin());
  }
  void* memory = nullptr;
  if (posix_memalign(&memory, 1024, std::max<std::size_t>(bytes, 1)) != 0) std::abort();
  auto* to = static_cast<volatile unsigned char*>(memory);
  for (std::size_t i = 0; i < bytes; ++i) to[i] = 0xff;
  m.kept.push_back(memory);
  return memory;
}

template <typename T>
void Shuffled(std::vector<T>* values) {
  if (TheOptions().seed != 0) std::shuffle(values->begin(), values->end(), m.random);
}

std::vector<std::size_t> Order(std::size_t count) {
  std::vector<std::size_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  Shuffled(&order);
  return order;
}

void StartThreads(dim3 block) {
  const std::size_t count = std::size_t{block.x} * block.y * block.z;
  m.threads.assign(count, nullptr);
  m.ready.clear();
  m.now.clear();
  m.ready.reserve(kMaxThreads);
  m.now.reserve(kMaxThreads);
  while (m.fibers.size() < count) m.fibers.push_back(std::make_unique<Fiber>());
  std::vector<std::size_t> order = Order(count);
  // ThreadSanitizer gives the number of a thread that ended to a new one, and takes the accesses of
  // one number to be in order. A thread must not meet the number that did its work before.
  if (kKeepsAllMemory) std::shuffle(order.begin(), order.end(), m.placement);
  for (std::size_t i = 0; i < count; ++i) {
    Fiber* fiber = m.fibers[order[i]].get();
    const auto n = static_cast<unsigned>(i);
    if (kKeepsAllMemory) fiber->context.Renew();
    fiber->number = static_cast<int>(i);
    fiber->index = {n % block.x, n / block.x % block.y, n / block.x / block.y};
    fiber->open.clear();
    fiber->groups.clear();
    fiber->fenced = false;
    fiber->atomic = nullptr;
    m.threads[i] = fiber;
    MakeReady(fiber);
  }
}

void RunBlock(dim3 block) {
  const Quiet quiet;
  m.tokens = static_cast<Machine::Tokens*>(Keep(sizeof(Machine::Tokens)));
  m.shared = static_cast<char*>(Keep(m.shared_bytes));
  m.arrived = 0;
  __tsan_release(&m.start);
  StartThreads(block);
  std::size_t left = m.threads.size();
  while (left > 0 && !m.failed) {
    if (m.ready.empty()) {
      ExplainDeadlock();
      break;
    }
    m.now.swap(m.ready);
    m.ready.clear();
    Shuffled(&m.now);
    for (Fiber* fiber : m.now) {
      ToFiber(fiber);
      if (fiber->state == Fiber::kDone) --left;
      if (m.failed) break;
    }
  }
  if (m.failed) {  // what is left on the stacks is given up
    for (auto& fiber : m.fibers) fiber->context.Renew();
  }
  ++m.counters.blocks;
}

}  // namespace

Options& TheOptions() {
  static Options options;
  return options;
}
Counters TakeCounters() { return std::exchange(m.counters, {}); }
const std::string& LastError() { return m.error; }
void Abort() {
  std::fprintf(stderr, "%s\n", m.error.c_str());
  std::abort();
}

void Synchronize() {
  const Quiet quiet;
  for (const auto& end : m.ends) __tsan_acquire(end.get());
  m.ends.clear();
  m.closures.clear();
  m.before = m.end = nullptr;
  for (void* memory : m.kept) std::free(memory);
  m.kept.clear();
}

cudaError_t Run(const std::string& name, dim3 grid, dim3 block, std::size_t shared_bytes,
                std::shared_ptr<const Thread> thread) {
  m.name = name.substr(0, 400);
  m.failed = false;
  m.error.clear();
  m.random.seed(TheOptions().seed);
  m.shared_bytes = shared_bytes;
  m.body = thread.get();
  m.closures.push_back(std::move(thread));
  m.before = m.end;
  m.ends.push_back(std::make_unique<char>());
  m.end = m.ends.back().get();
  ++m.counters.launches;
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  const std::size_t blocks = std::size_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > kMaxThreads || shared_bytes > kMaxShared || blocks == 0 ||
      grid.y > kMaxGridYz || grid.z > kMaxGridYz) {
    m.error = "impossible launch of " + m.name;
    return cudaErrorInvalidConfiguration;
  }
  gridDim = grid;
  blockDim = block;
  for (const std::size_t i : Order(blocks)) {
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    RunBlock(block);
    if (m.failed) break;
  }
  if (!kKeepsAllMemory) Synchronize();
  return m.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

void* SharedMemory(std::size_t bytes) {
  if (bytes > m.shared_bytes) {
    Fail("shared memory: " + std::to_string(bytes) + " bytes used, " +
         std::to_string(m.shared_bytes) + " launched with");
    ToMain();
  }
  return m.shared;
}

void WaitForPredecessor() {
  if (m.before != nullptr) __tsan_acquire(m.before);
}

void Barrier(Where where) {
  const Quiet quiet;
  Fiber* self = m.current;
  char* token = &m.tokens->barrier[m.barrier_generation % 2];
  __tsan_release(token);
  self->what = "__syncthreads";
  self->where = where;
  self->state = Fiber::kBarrier;
  if (++m.arrived == static_cast<int>(m.threads.size())) {
    m.arrived = 0;
    ++m.barrier_generation;
    ++m.counters.barriers;
    for (Fiber* fiber : m.threads) MakeReady(fiber);
  }
  ToMain();
  __tsan_acquire(token);
}

void Warp(const char* what, unsigned mask, void* deposit, Body body, bool orders, Where where) {
  const Quiet quiet;
  Fiber* self = m.current;
  const int lane = self->number % 32, warp = self->number / 32;
  const std::size_t first = static_cast<std::size_t>(warp) * 32;
  self->what = what;
  self->where = where;
  self->mask = mask;
  self->deposit = deposit;
  if ((mask >> lane & 1) == 0) {
    Fail(Place(*self) + " is not in its own mask");
    ToMain();
  }
  char* token = nullptr;
  if (orders) {
    token = &m.tokens->warp[warp][m.warp_generation[warp] % 2];
    __tsan_release(token);
  }
  self->state = Fiber::kWarp;
  void* lanes[32] = {};
  bool all = true;
  for (int i = 0; i < 32 && all; ++i) {
    if ((mask >> i & 1) == 0) continue;
    if (first + i >= m.threads.size()) {
      Fail(Place(*self) + " names lanes that the block does not have");
      ToMain();
    }
    const Fiber* other = m.threads[first + i];
    if (other->state == Fiber::kWarp &&
        (other->mask != mask || std::strcmp(other->what, what) != 0)) {
      Fail(Place(*self) + " disagrees with " + Place(*other));
      ToMain();
    }
    all = other->state == Fiber::kWarp;
    lanes[i] = other->deposit;
  }
  if (all) {
    body(lanes, mask);
    ++m.counters.warp_operations;
    if (orders) ++m.warp_generation[warp];
    for (int i = 0; i < 32; ++i) {
      if ((mask >> i & 1) != 0) MakeReady(m.threads[first + i]);
    }
  }
  ToMain();
  if (orders) __tsan_acquire(token);
}

void CopyAsync(void* to, const void* from, bool valid) {
  const Quiet quiet;
  const auto address = [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer);
  };
  if (((address(to) | (valid ? address(from) : 0)) & 15) != 0) {
    Fail("an asynchronous copy is not aligned");
    ToMain();
  }
  {
    const Loud loud;
    std::memset(to, 0xff, 16);  // whoever reads too early sees NaN
  }
  m.current->open.push_back({to, from, valid});
}
void CommitCopies() {
  const Quiet quiet;
  m.current->groups.push_back(std::exchange(m.current->open, {}));
}
void WaitCopies(int pending) {
  const Quiet quiet;
  auto& groups = m.current->groups;
  while (groups.size() > static_cast<std::size_t>(pending)) {
    for (const Copy& copy : groups.front()) DoCopy(copy);
    groups.erase(groups.begin());
  }
}

// What a thread wrote before a fence and then an atomic operation is seen by the threads that read
// after an atomic operation on the same address and then a fence.
void Fence() {
  m.current->fenced = true;
  if (m.current->atomic != nullptr) __tsan_acquire(m.current->atomic);
}
void BeforeAtomic(void* address) {
  if (m.current->fenced) __tsan_release(address);
}
void AfterAtomic(void* address) { m.current->atomic = address; }

}  // namespace emulator
