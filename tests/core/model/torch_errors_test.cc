// SPDX-License-Identifier: Apache-2.0
#include "core/model/torch_errors.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/model/device.h"

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

TEST(TorchErrorsTest, WarningsGoWhereTheyAreTakenAndNotToStandardError) {
  std::vector<std::string> taken;
  TakeTorchWarnings([&taken](const std::string& text) { taken.push_back(text); });
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(CatchTorchErrors("model step", [] {
                TORCH_WARN("first\nsecond");
                LOG(WARNING) << "of the logging library";
                return OkStatus();
              }).ok());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(taken, std::vector<std::string>{"first second"});
  TakeTorchWarnings([](const std::string&) {});
}

}  // namespace
}  // namespace paligemma
