// SPDX-License-Identifier: Apache-2.0
// The largest logit of each row, against a search in the whole product.
#include "core/cpu/logits.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace paligemma::cpu {
namespace {

constexpr int kInputs = 24;

class LogitsTest : public ::testing::TestWithParam<Isa> {
 protected:
  LogitsTest() : words_(NumPanels(kOutputs) * kInputs * kPanel) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    std::vector<float> values(kOutputs * kInputs);
    for (float& value : values) value = normal(random);
    for (int panel = 0; panel < NumPanels(kOutputs); ++panel) {
      PackPanel({Encoding::kFloat32, kOutputs, kInputs, values.data()}, panel, words_.data(),
                nullptr);
    }
    for (float& value : rows_) value = normal(random);
  }

  std::vector<LargestLogit> Find(const Context& context, const std::vector<float>& rows, int vocab,
                                 float softcap) const {
    const auto count = std::ssize(rows) / kInputs;
    return FindLargestLogits(
        context, MakeActivations(context, Encoding::kFloat32, rows.data(), count, kInputs), table_,
        vocab, softcap, /*with_log_probabilities=*/true);
  }
  Context Alone() const { return {GetParam(), nullptr}; }

  static constexpr int kOutputs = 1301, kRows = 7;
  AlignedBuffer<std::uint32_t> words_;
  const PackedMatrix table_{Encoding::kFloat32, kOutputs, kInputs, words_.data()};
  std::vector<float> rows_ = std::vector<float>(kRows * kInputs);
};

INSTANTIATE_TEST_SUITE_P(EveryIsa, LogitsTest, ::testing::ValuesIn(AvailableIsas()),
                         [](const auto& info) {
                           std::string name(IsaName(info.param));
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(LogitsTest, MatchASearchInTheWholeProduct) {
  std::vector<float> y(kRows * kOutputs);
  Multiply(Alone(), MakeActivations(Alone(), Encoding::kFloat32, rows_.data(), kRows, kInputs),
           table_, y.data());
  ThreadPool five(5);
  for (const int vocab : {1, 63, 64, 65, 600, kOutputs}) {
    const auto found = Find(Alone(), rows_, vocab, 0);
    const auto threaded = Find({GetParam(), &five}, rows_, vocab, 0);
    for (int row = 0; row < kRows; ++row) {
      const float* own = y.data() + row * kOutputs;
      const auto best = std::max_element(own, own + vocab) - own;
      double sum = 0;
      for (int i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(own[i]) - own[best]);
      EXPECT_EQ(found[row].id, best) << vocab;
      EXPECT_NEAR(found[row].log_probability, -std::log(sum), 1e-5) << vocab;
      EXPECT_EQ(threaded[row].id, found[row].id);
      EXPECT_EQ(threaded[row].log_probability, found[row].log_probability);
      const std::vector<float> one(rows_.begin() + row * kInputs,
                                   rows_.begin() + (row + 1) * kInputs);
      EXPECT_EQ(Find(Alone(), one, vocab, 0)[0].log_probability, found[row].log_probability);
    }
  }
}

TEST_P(LogitsTest, TheLowestOfEqualsIsTakenAndANanStaysInItsRow) {
  std::vector<float> rows = rows_;
  std::fill_n(rows.begin(), kInputs, 0.f);
  rows[kInputs + 3] = std::numeric_limits<float>::quiet_NaN();
  const auto found = Find(Alone(), rows, kOutputs, 30);
  EXPECT_EQ(found[0].id, 0);
  EXPECT_NEAR(found[0].log_probability, -std::log(double{kOutputs}), 1e-5);
  EXPECT_EQ(found[1].id, -1);
  EXPECT_EQ(found[2].id, Find(Alone(), rows_, kOutputs, 30)[2].id);
}

}  // namespace
}  // namespace paligemma::cpu
