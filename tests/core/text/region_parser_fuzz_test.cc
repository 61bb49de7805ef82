// SPDX-License-Identifier: Apache-2.0
// The fuzz target on a small corpus, in every test run.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

TEST(RegionParserFuzzTest, RandomOutputsKeepThePromises) {
  std::mt19937 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::uint8_t> input(random() % 60);
    for (auto& byte : input) {
      // Mostly runs of locations and codes, so that objects come about.
      const auto kind = random() % 8;
      byte = static_cast<std::uint8_t>(kind < 4 ? 96 + random() % 80
                                                : (kind < 6 ? 176 + random() % 80 : random() % 96));
    }
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}
