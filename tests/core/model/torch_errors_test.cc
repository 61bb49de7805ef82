// SPDX-License-Identifier: Apache-2.0
#include "core/model/torch_errors.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

namespace paligemma {
namespace {

TEST(TorchErrorsTest, MemoryThatIsNotThereIsWorthAnotherTry) {
  for (const bool standard : {true, false}) {
    const Status status = CatchTorchErrors("model step", [&]() -> Status {
      if (standard) throw std::bad_alloc();
      TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory");
    });
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_EQ(status.reason(), Reason::kDeviceOutOfMemory);
    EXPECT_GT(status.retry_after().count(), 0);
  }
}

TEST(TorchErrorsTest, EveryOtherExceptionIsInternalAndOneLine) {
  const Status status =
      CatchTorchErrors("model step", []() -> Status { throw std::runtime_error("first\nsecond"); });
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(status.message(), "model step: first");
}

TEST(TorchErrorsTest, AnAnswerPassesThrough) {
  EXPECT_TRUE(CatchTorchErrors("model step", [] { return OkStatus(); }).ok());
}

}  // namespace
}  // namespace paligemma
