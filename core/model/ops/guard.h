// SPDX-License-Identifier: Apache-2.0
// TorchScript turns every exception into a std::runtime_error of text. Kernels are registered
// through Guard, which keeps the original for the thread that called, so that running out of memory
// can be told from a fault.
#ifndef CORE_MODEL_OPS_GUARD_H_
#define CORE_MODEL_OPS_GUARD_H_

#include <exception>
#include <utility>

namespace paligemma::ops {

// The exception that the last failing kernel of this thread threw; null: none since the last call.
std::exception_ptr TakeKernelError();
void KeepKernelError(std::exception_ptr error);

template <auto Kernel>
struct Guard;

template <typename Result, typename... Arguments, Result (*Kernel)(Arguments...)>
struct Guard<Kernel> {
  static Result Call(Arguments... arguments) {
    try {
      return Kernel(std::forward<Arguments>(arguments)...);
    } catch (...) {
      KeepKernelError(std::current_exception());
      throw;
    }
  }
};

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_GUARD_H_
