// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "core/model/ops/kernels.h"
#include "tests/core/model/matrices.h"

namespace paligemma::ops {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// One row's wishes, in the operator's columns.
struct Ask {
  float temperature = 0, top_p = 1, min_p = 0, repetition = 1;
  int top_k = 0, mask = -1, seen = -1, forced = -1, seed_low = 0, seed_high = 0, counter = 0;
};

// A table that hands hidden states through, so that tests state logits.
Tensors4 SampleLogits(const Tensor& logits, const std::vector<Ask>& asks,
                      const Tensor& masks = at::zeros({0, 1}, at::kInt),
                      const Tensor& seen = at::zeros({0, 1}, at::kInt), int flags = 0,
                      int top = -1) {
  const std::int64_t vocab = logits.size(1);
  std::vector<float> params;
  std::vector<int> controls;
  for (const Ask& a : asks) {
    params.insert(params.end(), {a.temperature, a.top_p, a.min_p, a.repetition});
    controls.insert(controls.end(),
                    {a.top_k, a.mask, a.seen, a.forced, a.seed_low, a.seed_high, a.counter, 0});
  }
  const auto count = static_cast<std::int64_t>(asks.size());
  const PackedTensors table = Canonical(at::eye(vocab));
  return sample({{logits, table.View(), vocab, 0},
                 at::tensor(params).view({count, 4}),
                 at::tensor(controls, at::kInt).view({count, 8}),
                 masks,
                 seen,
                 flags,
                 top});
}

std::vector<int> Ids(const Tensors4& result) {
  const Tensor& ids = std::get<0>(result);
  return {ids.const_data_ptr<int>(), ids.const_data_ptr<int>() + ids.numel()};
}

// How often each id comes out over 400 counters.
std::map<int, int> Histogram(const Tensor& row, Ask ask) {
  std::vector<Ask> asks(400, ask);
  for (int i = 0; i < 400; ++i) {
    asks[i].counter = i;
  }
  std::map<int, int> histogram;
  for (const int id : Ids(SampleLogits(row.repeat({400, 1}), asks))) {
    ++histogram[id];
  }
  return histogram;
}

TEST(SamplerTest, GreedyTakesTheLowestOfEqualIds) {
  EXPECT_THAT(Ids(SampleLogits(at::tensor({1.f, 3.f, 3.f, 2.f}).view({1, 4}), {Ask{}})),
              ElementsAre(1));
}

TEST(SamplerTest, TopKKeepsTiesWithTheLastOne) {
  const Tensor row = at::tensor({1.f, 2.f, 2.f, 2.f, 0.f}).view({1, 5});
  const auto drawn = Histogram(row, {.temperature = 1, .top_k = 2});
  EXPECT_EQ(drawn.size(), 3u);
  EXPECT_FALSE(drawn.contains(0) || drawn.contains(4));
}

TEST(SamplerTest, TopPKeepsTheSmallestSetThatReachesIt) {
  const Tensor row = at::tensor({0.5f, 0.3f, 0.15f, 0.05f}).log().view({1, 4});
  EXPECT_EQ(Histogram(row, {.temperature = 1, .top_p = 0.5f}).size(), 1u);
  EXPECT_EQ(Histogram(row, {.temperature = 1, .top_p = 0.6f}).size(), 2u);
  EXPECT_EQ(Histogram(row, {.temperature = 1, .top_p = 0.9f}).size(), 3u);
}

TEST(SamplerTest, MinPCutsBelowAShareOfTheBest) {
  const Tensor row = at::tensor({0.5f, 0.3f, 0.15f, 0.05f}).log().view({1, 4});
  EXPECT_EQ(Histogram(row, {.temperature = 1, .min_p = 0.55f}).size(), 2u);
}

TEST(SamplerTest, DrawsWithTheProbabilitiesOfTheLogits) {
  const auto drawn =
      Histogram(at::tensor({0.7f, 0.2f, 0.1f}).log().view({1, 3}), {.temperature = 1});
  EXPECT_NEAR(drawn.at(0), 280, 40);
  EXPECT_NEAR(drawn.at(1), 80, 30);
}

TEST(SamplerTest, NoiseDependsOnSeedAndCounterAndOnNothingElse) {
  const Tensor logits = at::randn({1, 50});
  const Ask ask{.temperature = 1, .seed_low = 5, .seed_high = 9, .counter = 3};
  const int alone = Ids(SampleLogits(logits, {ask}))[0];
  Ask other = ask;
  other.counter = 4;
  const auto together =
      Ids(SampleLogits(logits.repeat({3, 1}), {other, ask, Ask{.temperature = 1, .top_k = 3}}));
  EXPECT_EQ(together[1], alone);
  std::map<int, int> seeds;
  for (int seed = 0; seed < 20; ++seed) {
    ++seeds[Ids(SampleLogits(logits, {Ask{.temperature = 1, .seed_low = seed}}))[0]];
  }
  EXPECT_GT(seeds.size(), 5u);
}

TEST(SamplerTest, RepetitionPenalisesSeenIdsAndMarksTheNewOne) {
  Tensor seen = at::tensor({0b10}, at::kInt).view({1, 1});
  const Tensor row = at::tensor({1.f, 1.9f, -1.f}).view({1, 3});
  EXPECT_THAT(
      Ids(SampleLogits(row, {{.repetition = 2, .seen = 0}}, at::zeros({0, 1}, at::kInt), seen)),
      ElementsAre(0));
  EXPECT_EQ(seen.item<int>(), 0b11);
}

TEST(SamplerTest, AMaskedIdNeverComesOut) {
  const Tensor masks = at::tensor({0b1101}, at::kInt).view({1, 1});
  const Tensor row = at::tensor({1.f, 9.f, 2.f, 0.f}).view({1, 4});
  EXPECT_THAT(Ids(SampleLogits(row, {{.mask = 0}}, masks)), ElementsAre(2));
  EXPECT_FALSE(Histogram(row, {.temperature = 5}).empty());
  const auto result = SampleLogits(row, {{.mask = 0}}, masks, at::zeros({0, 1}, at::kInt), 1, 1);
  const Tensor allowed = at::tensor({1.f, 2.f, 0.f}).log_softmax(0);
  EXPECT_NEAR(std::get<1>(result).item<float>(), allowed[1].item<float>(), 1e-6);
}

TEST(SamplerTest, ReportsLogProbabilitiesBeforeTemperature) {
  const Tensor row = at::tensor({1.f, 3.f, 2.f}).view({1, 3});
  const auto [ids, logprobs, top_ids, top_logprobs] = SampleLogits(
      row, {{.temperature = 0}}, at::zeros({0, 1}, at::kInt), at::zeros({0, 1}, at::kInt), 0, 2);
  const Tensor expected = row[0].log_softmax(0);
  EXPECT_FLOAT_EQ(logprobs.item<float>(), expected[1].item<float>());
  EXPECT_TRUE(at::equal(top_ids[0], at::tensor({1, 2}, at::kInt)));
  EXPECT_FLOAT_EQ(top_logprobs[0][1].item<float>(), expected[2].item<float>());
}

TEST(SamplerTest, ANanInTheLogitsIsAFaultOfItsRowOnly) {
  Tensor logits = at::randn({3, 8});
  logits[1] = NAN;
  const auto ids = Ids(SampleLogits(logits, {Ask{}, Ask{.temperature = 1}, Ask{}}));
  EXPECT_EQ(ids[1], -1);
  EXPECT_GE(ids[0], 0);
  EXPECT_GE(ids[2], 0);
}

}  // namespace
}  // namespace paligemma::ops
