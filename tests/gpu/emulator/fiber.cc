// SPDX-License-Identifier: Apache-2.0
#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
extern "C" {
void __sanitizer_start_switch_fiber(void**, const void*, std::size_t);
void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*);
}
#endif

// Saves the registers that a callee keeps, and goes to another stack.
asm(R"(
.text
.globl pg_emulator_switch
.type pg_emulator_switch,@function
pg_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size pg_emulator_switch,.-pg_emulator_switch
)");
extern "C" void pg_emulator_switch(void** save, void* load);

namespace emulator {
namespace {

#if defined(PG_EMULATOR_TSAN)
constexpr std::size_t kStackBytes = 32 << 10;  // mapped anew for each thread of each block
#else
constexpr std::size_t kStackBytes = 128 << 10;
#endif
constexpr std::size_t kGuardBytes = 4 << 10;
constexpr int kSavedRegisters = 6;

// The main stack, while a context runs.
void* main_pointer = nullptr;
#if defined(PG_EMULATOR_TSAN)
constexpr unsigned kWithoutOrder = 1;
void* main_tsan = nullptr;
#endif
#if defined(__SANITIZE_ADDRESS__)
void* main_asan = nullptr;
const void* main_bottom = nullptr;
std::size_t main_size = 0;
#endif

char* Map(void* at, std::size_t bytes, int fixed) {
  void* memory = ::mmap(at, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<char*>(memory);
}

}  // namespace

Context::Context(void (*entry)()) : entry_(entry) {
  char* memory = Map(nullptr, kStackBytes + kGuardBytes, 0);
  ::mprotect(memory, kGuardBytes, PROT_NONE);
  stack_ = memory + kGuardBytes;
  Prepare();
#if defined(PG_EMULATOR_TSAN)
  tsan_ = __tsan_create_fiber(0);
#endif
}

void Context::Prepare() {
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;  // where `entry` would return to; also aligns its stack
  *--top = reinterpret_cast<void*>(entry_);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  pointer_ = top;
}

void Context::Renew() {
#if defined(PG_EMULATOR_TSAN)
  __tsan_destroy_fiber(tsan_);
  Map(stack_, kStackBytes, MAP_FIXED);
  tsan_ = __tsan_create_fiber(0);
#endif
  Prepare();
}

void Context::Enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&main_asan, stack_, kStackBytes);
#endif
#if defined(PG_EMULATOR_TSAN)
  main_tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_, kWithoutOrder);
#endif
  pg_emulator_switch(&main_pointer, pointer_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(main_asan, nullptr, nullptr);
#endif
}

void Context::Leave() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&asan_, main_bottom, main_size);
#endif
#if defined(PG_EMULATOR_TSAN)
  __tsan_switch_to_fiber(main_tsan, kWithoutOrder);
#endif
  pg_emulator_switch(&pointer_, main_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(asan_, &main_bottom, &main_size);
#endif
}

void Arrived() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &main_bottom, &main_size);
#endif
}

}  // namespace emulator
