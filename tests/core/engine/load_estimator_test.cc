// SPDX-License-Identifier: Apache-2.0
#include "core/engine/load_estimator.h"

#include "gtest/gtest.h"

namespace paligemma {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

StepStats Prefill(int tokens, Duration model, int images = 0, Duration vision = {}) {
  StepStats stats;
  stats.prefill = true;
  stats.num_rows = 1;
  stats.num_tokens = tokens;
  stats.num_images = images;
  stats.model = model;
  stats.vision = vision;
  return stats;
}

StepStats Decode(Duration model) {
  StepStats stats;
  stats.num_rows = stats.num_tokens = 4;
  stats.model = model;
  return stats;
}

TEST(LoadEstimatorTest, KnowsNothingBeforeTheFirstStep) {
  const LoadEstimator load(nullptr);
  EXPECT_EQ(load.PrefixTime({1000, 10}), Duration::zero());
  EXPECT_EQ(load.DecodeTime(100), Duration::zero());
  EXPECT_GT(load.RetryDelay(1), milliseconds(0));
}

TEST(LoadEstimatorTest, AddsUpPicturesAndPromptTokens) {
  LoadEstimator load(nullptr);
  load.OnStep(Prefill(100, milliseconds(200), 2, milliseconds(600)));
  EXPECT_EQ(load.PrefixTime({50, 0}), milliseconds(100));
  EXPECT_EQ(load.PrefixTime({50, 3}), milliseconds(1000));
}

TEST(LoadEstimatorTest, ADecodeStepCostsTheSameWhateverItsRows) {
  LoadEstimator load(nullptr);
  load.OnStep(Decode(milliseconds(30)));
  EXPECT_EQ(load.DecodeTime(10), milliseconds(300));
  EXPECT_EQ(load.PrefixTime({100, 1}), Duration::zero());
}

TEST(LoadEstimatorTest, OldMeasurementsFade) {
  LoadEstimator load(nullptr);
  load.OnStep(Decode(seconds(10)));  // a cold start
  for (int i = 0; i < 100; ++i) load.OnStep(Decode(milliseconds(10)));
  EXPECT_LT(load.DecodeTime(1), milliseconds(11));
}

TEST(LoadEstimatorTest, TheRetryDelayGrowsWithTheQueueAndTheTimeOfARequest) {
  LoadEstimator load(nullptr);
  const TimePoint start = TimePoint() + seconds(1000);
  for (int i = 0; i < 4; ++i) load.OnRequestEnded(start + i * milliseconds(250), /*more=*/true);
  EXPECT_EQ(load.RetryDelay(1), milliseconds(250));
  EXPECT_EQ(load.RetryDelay(40), seconds(10));
  EXPECT_EQ(load.RetryDelay(1'000'000), seconds(60)) << "bounded";
}

TEST(LoadEstimatorTest, AnIdleServerIsNotASlowOne) {
  LoadEstimator load(nullptr);
  const TimePoint start = TimePoint() + seconds(1000);
  load.OnRequestEnded(start, true);
  load.OnRequestEnded(start + milliseconds(100), false);
  load.OnRequestEnded(start + std::chrono::hours(1), true);
  EXPECT_EQ(load.RetryDelay(1), milliseconds(100));
}

}  // namespace
}  // namespace paligemma
