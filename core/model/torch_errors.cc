// SPDX-License-Identifier: Apache-2.0
#include "core/model/torch_errors.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "core/model/device.h"
#include "core/model/ops/guard.h"

namespace paligemma {
namespace {

class WarningTaker : public c10::WarningHandler {
 public:
  explicit WarningTaker(std::function<void(const std::string&)> take) : take_(std::move(take)) {}
  void process(const c10::Warning& warning) override {
    std::string text = warning.msg();
    std::replace(text.begin(), text.end(), '\n', ' ');
    take_(text);
  }

 private:
  const std::function<void(const std::string&)> take_;
};

// Null until TakeTorchWarnings(); lives as long as the process.
WarningTaker* warning_taker = nullptr;

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

void TakeTorchWarnings(std::function<void(const std::string&)> take) {
  warning_taker = new WarningTaker(std::move(take));
  FLAGS_caffe2_log_level = c10::GLOG_ERROR;
}

std::string OneLine(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  text.erase(0, text.find_first_not_of("\n "));
  return text.substr(0, text.find('\n'));
}

Status CatchTorchErrors(const std::string& what, const std::function<Status()>& body) {
  ops::TakeKernelError();
  // A thread's handler is its own, and a null one the default.
  const c10::WarningUtils::WarningHandlerGuard warnings(warning_taker);
  try {
    return body();
  } catch (...) {
    // TorchScript rethrows a kernel's exception as text: prefer the original.
    std::exception_ptr original = ops::TakeKernelError();
    return ToStatus(what, original != nullptr ? original : std::current_exception());
  }
}

}  // namespace paligemma
