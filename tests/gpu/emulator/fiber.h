// SPDX-License-Identifier: Apache-2.0
// The stacks that CUDA threads run on in the emulator, and the way from one to another. x86-64.
#ifndef TESTS_GPU_EMULATOR_FIBER_H_
#define TESTS_GPU_EMULATOR_FIBER_H_

#include <cstddef>

// ThreadSanitizer is told of fibers and of the order that CUDA promises. PG_EMULATOR_TSAN says that
// the program is instrumented; the emulator itself never is.
#if defined(PG_EMULATOR_TSAN)
extern "C" {
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void* __tsan_get_current_fiber();
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
}
#else
static inline void __tsan_acquire(void*) {}
static inline void __tsan_release(void*) {}
static inline void __tsan_ignore_thread_begin() {}
static inline void __tsan_ignore_thread_end() {}
#endif

namespace emulator {

// While one lives, ThreadSanitizer ignores what the emulator does with its own memory.
struct Quiet {
  Quiet() { __tsan_ignore_thread_begin(); }
  ~Quiet() { __tsan_ignore_thread_end(); }
};
// Inside a Quiet: what is read and written here, is on behalf of the kernel.
struct Loud {
  Loud() { __tsan_ignore_thread_end(); }
  ~Loud() { __tsan_ignore_thread_begin(); }
};

// A stack with a function that runs on it. Not copied: its address is its identity.
class Context {
 public:
  // `entry` never returns.
  explicit Context(void (*entry)());
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Gives up what runs on the stack and begins at `entry` again. To ThreadSanitizer the context is
  // a new thread on memory without a history: nothing that it did before is ordered before it.
  void Renew();

  // Both are called with the one main stack on the other side.
  void Enter();  // from the main stack: runs until Leave()
  void Leave();  // from this one: back to where Enter() was called

 private:
  void Prepare();

  void (*const entry_)();
  char* stack_ = nullptr;
  void* pointer_ = nullptr;  // where the stack stands
  void* tsan_ = nullptr;
  void* asan_ = nullptr;
};

// To call first on a context's stack.
void Arrived();

}  // namespace emulator

#endif  // TESTS_GPU_EMULATOR_FIBER_H_
