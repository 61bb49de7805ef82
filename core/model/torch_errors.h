// SPDX-License-Identifier: Apache-2.0
// Exceptions of LibTorch and of our kernels as Status. Internal to core/model.
#ifndef CORE_MODEL_TORCH_ERRORS_H_
#define CORE_MODEL_TORCH_ERRORS_H_

#include <exception>
#include <functional>
#include <string>

#include "core/base/status.h"

namespace paligemma {

// Runs `body`. Out of memory becomes UNAVAILABLE, DEVICE_OUT_OF_MEMORY; everything else INTERNAL;
// the message is "<what>: <first line>" without a backtrace.
Status CatchTorchErrors(const std::string& what, const std::function<Status()>& body);

// An exception's first line, without torch's backtrace.
std::string OneLine(const std::exception& error);

}  // namespace paligemma

#endif  // CORE_MODEL_TORCH_ERRORS_H_
