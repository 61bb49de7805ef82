// SPDX-License-Identifier: Apache-2.0
// Work on single rows against the formulas in double, for lengths around the vectors' width.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "core/cpu/kernels.h"

namespace paligemma::cpu {
namespace {

constexpr int kCounts[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 64, 100, 257};

std::vector<float> RandomRow(int count, int seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> row(count);
  for (float& value : row) value = normal(random);
  return row;
}

double Gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

class RowKernelsTest : public ::testing::TestWithParam<Isa> {
 protected:
  const Kernels& kernels_ = KernelsFor(GetParam());
};

INSTANTIATE_TEST_SUITE_P(EveryIsa, RowKernelsTest, ::testing::ValuesIn(AvailableIsas()),
                         [](const auto& info) {
                           std::string name(IsaName(info.param));
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(RowKernelsTest, NormsMatchTheirFormulas) {
  for (const int count : kCounts) {
    const std::vector<float> x = RandomRow(count, 1, 3), weight = RandomRow(count, 2);
    const std::vector<float> bias = RandomRow(count, 3);
    double sum = 0, squares = 0, variance = 0;
    for (const float value : x) sum += value, squares += double{value} * value;
    for (const float value : x) variance += std::pow(value - sum / count, 2) / count;
    const double rms = 1 / std::sqrt(squares / count + 1e-6);
    std::vector<float> normed(count), added = bias, layered(count);
    kernels_.rms_norm(x.data(), weight.data(), count, 1e-6f, normed.data());
    kernels_.add_rms_norm(x.data(), weight.data(), count, 1e-6f, added.data());
    kernels_.layer_norm(x.data(), weight.data(), bias.data(), count, 1e-6f, layered.data());
    for (int i = 0; i < count; ++i) {
      const double expected = x[i] * rms * (1.0 + weight[i]);
      EXPECT_NEAR(normed[i], expected, 1e-5) << count;
      EXPECT_NEAR(added[i], bias[i] + expected, 1e-5) << count;
      const double centred = (x[i] - sum / count) / std::sqrt(variance + 1e-6);
      EXPECT_NEAR(layered[i], centred * weight[i] + bias[i], 2e-5) << count;
    }
  }
}

TEST_P(RowKernelsTest, GeluAndSoftcapAreAccurateFromTinyToHuge) {
  std::vector<float> x;
  for (float size = 1e-20f; size < 1e4f; size *= 1.7f) x.insert(x.end(), {size, -size});
  const int count = static_cast<int>(x.size());
  const std::vector<float> zeros(count, 0), ones(count, 1);
  std::vector<float> gelu(count), gated(count), capped = x;
  kernels_.gelu_of_sum(x.data(), zeros.data(), count, gelu.data());
  kernels_.gelu_times(x.data(), ones.data(), count, gated.data());
  kernels_.softcap(count, 30, capped.data());
  for (int i = 0; i < count; ++i) {
    EXPECT_NEAR(gelu[i], Gelu(x[i]), 3e-7 * std::abs(x[i]));
    EXPECT_EQ(gated[i], gelu[i]);
    const double cap = 30 * std::tanh(x[i] / 30.0);
    EXPECT_NEAR(capped[i], cap, 3e-7 * std::abs(cap));
  }
}

TEST_P(RowKernelsTest, SoftmaxSumsToOneAndPadsWithZeros) {
  for (const int count : kCounts) {
    for (const float softcap : {0.f, 5.f}) {
      const std::vector<float> scores = RandomRow(count, count, 20);
      std::vector<float> weights = scores;
      weights.resize(count + 5, 7.f);
      kernels_.softmax(count, count + 5, 0.5f, softcap, weights.data());
      std::vector<double> expected(count);
      double largest = -1e30, total = 0;
      for (int i = 0; i < count; ++i) {
        expected[i] = scores[i] * 0.5;
        if (softcap > 0) expected[i] = softcap * std::tanh(expected[i] / softcap);
        largest = std::max(largest, expected[i]);
      }
      for (double& value : expected) total += value = std::exp(value - largest);
      for (int i = 0; i < count; ++i) EXPECT_NEAR(weights[i], expected[i] / total, 2e-6);
      for (int i = count; i < count + 5; ++i) EXPECT_EQ(weights[i], 0);
    }
  }
}

TEST_P(RowKernelsTest, SoftmaxStandsHugeScoresAndHandsNansOn) {
  std::vector<float> scores(20, -1e30f);
  scores[3] = 1e30f;
  kernels_.softmax(20, 20, 1, 0, scores.data());
  EXPECT_EQ(scores[3], 1);
  EXPECT_LT(scores[4], 1e-37f);
  scores[3] = std::numeric_limits<float>::quiet_NaN();
  kernels_.softmax(20, 20, 1, 50, scores.data());
  EXPECT_TRUE(std::isnan(scores[0]));
}

TEST_P(RowKernelsTest, RotatesBySplitHalves) {
  for (const int half : {1, 4, 16, 36, 128}) {
    const std::vector<float> x = RandomRow(2 * half, 1), angle = RandomRow(half, 2);
    std::vector<float> cosine(half), sine(half), rotated = x;
    for (int i = 0; i < half; ++i) cosine[i] = std::cos(angle[i]), sine[i] = std::sin(angle[i]);
    kernels_.rotate(cosine.data(), sine.data(), half, rotated.data());
    for (int i = 0; i < half; ++i) {
      EXPECT_NEAR(rotated[i], x[i] * cosine[i] - x[half + i] * sine[i], 1e-6);
      EXPECT_NEAR(rotated[half + i], x[half + i] * cosine[i] + x[i] * sine[i], 1e-6);
    }
  }
}

TEST_P(RowKernelsTest, RoundsToBfloat16AlikeInPlaceAndInPages) {
  std::vector<float> x = RandomRow(37, 9, 1e3f);
  x[0] = 1.00390625f;  // a tie, to even: 1
  x[1] = 1.01171875f;  // a tie, to even: 1.015625
  std::vector<std::uint16_t> pages(37);
  kernels_.to_bfloat16(x.data(), 37, 37, pages.data());
  kernels_.round_to_bfloat16(37, x.data());
  EXPECT_EQ(x[0], 1);
  EXPECT_EQ(x[1], 1.015625f);
  for (int i = 0; i < 37; ++i) {
    EXPECT_EQ(std::bit_cast<float>(std::uint32_t{pages[i]} << 16), x[i]);
  }
}

}  // namespace
}  // namespace paligemma::cpu
