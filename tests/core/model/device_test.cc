// SPDX-License-Identifier: Apache-2.0
#include "core/model/device.h"

#include <gmock/gmock.h>

namespace paligemma {
namespace {

TEST(DeviceTest, TextAndDeviceAreEachOthersInverse) {
  for (const char* text : {"cpu", "cuda:0", "cuda:17"}) {
    const auto device = Device::Parse(text);
    ASSERT_TRUE(device.has_value()) << text;
    EXPECT_EQ(device->ToString(), text);
    EXPECT_NE(device->is_cpu(), device->is_cuda());
  }
  EXPECT_EQ(Device::Parse("cuda:17")->cuda_index(), 17);
  EXPECT_NE(Device::Cuda(1), Device::Cuda(0));
  for (const char* text : {"", "CPU", "cuda", "cuda:", "cuda:-1", "cuda:1 ", "cuda:99999999999"}) {
    EXPECT_FALSE(Device::Parse(text).has_value()) << text;
  }
}

TEST(DeviceTest, TakesTheCpuWhenAsked) {
  const auto choice = PrepareDevice("cpu");
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->device, Device::Cpu());
  EXPECT_GT(FreeDeviceBytes(choice->device), 0);
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
  EXPECT_EQ(choice->device, gpu.ok() ? Device::Cuda(0) : Device::Cpu());
  EXPECT_FALSE(choice->reason.empty());
  if (!gpu.ok()) {
    EXPECT_EQ(gpu.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_TRUE(gpu.status().message().starts_with("device cuda:0: ")) << gpu.status().message();
    EXPECT_EQ(gpu.status().message().find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace paligemma
