// SPDX-License-Identifier: Apache-2.0
// The emulator itself: what it must refuse, and what it must compute.
#include <cstring>

#include "core/gpu/device.h"
#include "device_memory.h"

namespace paligemma::gpu {
namespace {

struct Words {
  float values[64];
};

__global__ void ReadsWhatNobodyWrote(float* out) {
  PG_SHARED(Words, shared);
  out[threadIdx.x] = shared.values[threadIdx.x];
}

TEST(EmulatorTest, SharedMemoryStartsAsNan) {
  DeviceMemory<float> out(32);
  EXPECT_RUNS(Launch(ReadsWhatNobodyWrote, dim3(1), 32, sizeof(Words), nullptr, out.get()));
  for (const float value : out.ToHost()) EXPECT_TRUE(std::isnan(value));
}

TEST(EmulatorTest, RefusesMoreSharedMemoryThanWasAskedFor) {
  DeviceMemory<float> out(32);
  const std::string why =
      Wait(Launch(ReadsWhatNobodyWrote, dim3(1), 32, sizeof(Words) - 4, nullptr, out.get()));
  EXPECT_NE(why.find("252 launched with"), std::string::npos) << why;
}

__global__ void HalfLeaves() {
  if (threadIdx.x >= 16) return;
  __syncthreads();
}

TEST(EmulatorTest, NamesTheThreadThatLeftOthersAtABarrier) {
  InEveryOrder([] {
    const std::string why = Wait(Launch(HalfLeaves, dim3(1), 32, 0, nullptr));
    EXPECT_NE(why.find("has left the kernel"), std::string::npos) << why;
    EXPECT_NE(why.find("emulator_test.cc:"), std::string::npos) << why;
  });
}

__global__ void LanesDisagree(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
  } else {
    __syncwarp();
  }
}

TEST(EmulatorTest, RefusesLanesThatDisagree) {
  DeviceMemory<float> out(32);
  InEveryOrder([&] {
    const std::string why = Wait(Launch(LanesDisagree, dim3(1), 32, 0, nullptr, out.get()));
    EXPECT_NE(why.find("disagrees with"), std::string::npos) << why;
  });
}

TEST(EmulatorTest, RefusesImpossibleLaunches) {
  EXPECT_NE(Wait(Launch(HalfLeaves, dim3(0), 32, 0, nullptr)), "");
  EXPECT_NE(Wait(Launch(HalfLeaves, dim3(1), 2048, 0, nullptr)), "");
  EXPECT_NE(Wait(Launch(HalfLeaves, dim3(1), 32, 300 << 10, nullptr)), "");
}

__global__ void CopiesAndWaits(const float* in, float* out, bool waits) {
  PG_SHARED(Words, shared);
  CopyAsync(&shared.values[threadIdx.x * 4], in + threadIdx.x * 4, threadIdx.x != 1);
  CommitCopies();
  if (waits) WaitCopies<0>();
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = shared.values[threadIdx.x * 4 + i];
}

TEST(EmulatorTest, CopiesArriveWhenTheyAreWaitedForAndNotBefore) {
  const DeviceMemory<float> in(std::vector<float>(16, 3.0f));
  DeviceMemory<float> out(16);
  EXPECT_RUNS(
      Launch(CopiesAndWaits, dim3(1), 4, sizeof(Words), nullptr, in.get(), out.get(), true));
  const std::vector<float> arrived = out.ToHost();
  for (int i = 0; i < 16; ++i) EXPECT_EQ(arrived[i], i / 4 == 1 ? 0.0f : 3.0f);
  EXPECT_RUNS(
      Launch(CopiesAndWaits, dim3(1), 4, sizeof(Words), nullptr, in.get(), out.get(), false));
  for (const float value : out.ToHost()) EXPECT_TRUE(std::isnan(value));
}

// The fragments are those of the manual: a (16, K) and b (K, 8) with K = 32 int8 or 16 bf16.
__global__ void MultipliesInt8(const std::int8_t* a, const std::int8_t* b, int* d) {
  const int group = static_cast<int>(threadIdx.x) / 4,
            first = static_cast<int>(threadIdx.x) % 4 * 4;
  std::uint32_t x[4], y[2];
  for (int i = 0; i < 4; ++i) {
    std::memcpy(&x[i], a + (group + i % 2 * 8) * 32 + first + i / 2 * 16, 4);
  }
  for (int i = 0; i < 2; ++i) std::memcpy(&y[i], b + group * 32 + first + i * 16, 4);
  int sums[4] = {};
  Mma(sums, x, y);
  for (int i = 0; i < 4; ++i) {
    d[(group + i / 2 * 8) * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2] = sums[i];
  }
}

TEST(EmulatorTest, MultipliesInt8Exactly) {
  Values values;
  std::vector<std::int8_t> a, b;
  for (const int value : values.Integers(16 * 32, -128, 127)) a.push_back(std::int8_t(value));
  for (const int value : values.Integers(8 * 32, -128, 127)) b.push_back(std::int8_t(value));
  const DeviceMemory<std::int8_t> da(a), db(b);
  DeviceMemory<int> d(16 * 8);
  EXPECT_RUNS(Launch(MultipliesInt8, dim3(1), 32, 0, nullptr, da.get(), db.get(), d.get()));
  const std::vector<int> got = d.ToHost();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      int sum = 0;
      for (int k = 0; k < 32; ++k) sum += a[i * 32 + k] * b[j * 32 + k];
      EXPECT_EQ(got[i * 8 + j], sum);
    }
  }
}

}  // namespace
}  // namespace paligemma::gpu
