// SPDX-License-Identifier: Apache-2.0
// Which kernels a model runs and on which threads. TorchScript calls operators with tensors alone,
// so whoever runs a module makes its context the calling thread's for as long as it runs.
#ifndef CORE_CPU_CONTEXT_H_
#define CORE_CPU_CONTEXT_H_

#include "core/cpu/isa.h"
#include "core/cpu/thread_pool.h"

namespace paligemma::cpu {

struct Context {
  Isa isa = Isa::kReference;
  ThreadPool* pool = nullptr;  // not owned; null: the calling thread alone

  // Calls task(i) for each i in [0, num_tiles), as ThreadPool::Run.
  template <typename Task>
  void Run(int num_tiles, const Task& task) const {
    if (pool != nullptr) {
      pool->Run(num_tiles, task);
      return;
    }
    for (int tile = 0; tile < num_tiles; ++tile) {
      task(tile);
    }
  }
};

// The calling thread's: that of its innermost scope, or DetectIsa() without a pool.
const Context& CurrentContext();

class ContextScope {
 public:
  explicit ContextScope(const Context& context);  // must outlive the scope
  ~ContextScope();
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  const Context* const outer_;
};

}  // namespace paligemma::cpu

#endif  // CORE_CPU_CONTEXT_H_
