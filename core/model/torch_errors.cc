// SPDX-License-Identifier: Apache-2.0
#include "core/model/torch_errors.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <new>
#include <utility>

#include "core/model/ops/guard.h"

namespace paligemma {
namespace {

Status OutOfMemory(const std::string& what) {
  return Status(StatusCode::kUnavailable, Reason::kDeviceOutOfMemory,
                what + ": the device is out of memory")
      .WithRetryAfter(std::chrono::seconds(1));
}

Status ToStatus(const std::string& what, std::exception_ptr error) {
  try {
    std::rethrow_exception(std::move(error));
  } catch (const c10::OutOfMemoryError&) {
    return OutOfMemory(what);
  } catch (const std::bad_alloc&) {
    return OutOfMemory(what);
  } catch (const std::exception& other) {
    const std::string text = OneLine(other);
    // The CPU's allocator throws a plain c10::Error.
    return text.find("DefaultCPUAllocator") != std::string::npos
               ? OutOfMemory(what)
               : InternalError(what + ": " + text);
  } catch (...) {
    return InternalError(what + ": an unknown exception");
  }
}

}  // namespace

std::string OneLine(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  text.erase(0, text.find_first_not_of("\n "));
  return text.substr(0, text.find('\n'));
}

Status CatchTorchErrors(const std::string& what, const std::function<Status()>& body) {
  ops::TakeKernelError();
  try {
    return body();
  } catch (...) {
    // TorchScript rethrows a kernel's exception as text: prefer the original.
    std::exception_ptr original = ops::TakeKernelError();
    return ToStatus(what, original != nullptr ? original : std::current_exception());
  }
}

}  // namespace paligemma
