// SPDX-License-Identifier: Apache-2.0
#include "core/model/device.h"

#include <gmock/gmock.h>

namespace paligemma {
namespace {

TEST(DeviceTest, TakesTheCpuWhenAsked) {
  const auto choice = PrepareDevice("cpu");
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->device, "cpu");
  EXPECT_GT(FreeDeviceBytes("cpu"), 0);
}

TEST(DeviceTest, RefusesWhatIsNoDevice) {
  for (const char* name : {"", "gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "cuda:0x"}) {
    EXPECT_EQ(PrepareDevice(name).status().reason(), Reason::kFieldInvalid) << name;
  }
}

// Holds with and without a GPU, and with and without the plugin.
TEST(DeviceTest, AutoFallsBackToTheCpuAndSaysWhy) {
  const auto choice = PrepareDevice("auto");
  ASSERT_TRUE(choice.ok());
  const auto gpu = PrepareDevice("cuda:0");
  EXPECT_EQ(choice->device, gpu.ok() ? "cuda:0" : "cpu");
  EXPECT_FALSE(choice->reason.empty());
  if (!gpu.ok()) {
    EXPECT_EQ(gpu.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_TRUE(gpu.status().message().starts_with("device cuda:0: ")) << gpu.status().message();
    EXPECT_EQ(gpu.status().message().find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace paligemma
