// SPDX-License-Identifier: Apache-2.0
// TorchScript turns every exception into a std::runtime_error of text. Kernels are registered so
// (registration.h) that the original is kept for the thread that called: running out of memory can
// then be told from a fault.
#ifndef CORE_MODEL_OPS_GUARD_H_
#define CORE_MODEL_OPS_GUARD_H_

#include <exception>

namespace paligemma::ops {

// The exception that the last failing kernel of this thread threw; null: none since the last call.
std::exception_ptr TakeKernelError();
void KeepKernelError(std::exception_ptr error);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_GUARD_H_
