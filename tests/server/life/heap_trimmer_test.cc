// SPDX-License-Identifier: Apache-2.0
#include "server/life/heap_trimmer.h"

#include <gtest/gtest.h>

namespace paligemma {
namespace {

constexpr std::int64_t kMuch = HeapTrimmer::kWorthwhileBytes;

class HeapTrimmerTest : public ::testing::Test {
 protected:
  std::int64_t resident_ = 100 * kMuch, in_use_ = 100 * kMuch;
  int num_trims_ = 0;
  HeapTrimmer trimmer_{[this] { return resident_; },
                       [this] {
                         ++num_trims_;
                         resident_ = in_use_;
                       }};
};

TEST_F(HeapTrimmerTest, TrimsOnceWhenMemoryGrew) {
  trimmer_.OnIdle();
  EXPECT_EQ(num_trims_, 0) << "that is what a loaded server needs";
  resident_ += kMuch;
  trimmer_.OnIdle();
  trimmer_.OnIdle();
  EXPECT_EQ(num_trims_, 1);
}

TEST_F(HeapTrimmerTest, WhatWasInUseIsTrimmedOnceItIsFree) {
  trimmer_.OnIdle();
  resident_ = in_use_ += 2 * kMuch;
  trimmer_.OnIdle();
  EXPECT_EQ(resident_, in_use_);
  in_use_ -= 2 * kMuch;
  for (int i = 0; i < HeapTrimmer::kLooksBetween; ++i) trimmer_.OnIdle();
  EXPECT_EQ(resident_, in_use_);
  EXPECT_EQ(num_trims_, 2) << "not at each look";
}

TEST_F(HeapTrimmerTest, GrowthCountsFromTheLeastThatThereWas) {
  trimmer_.OnIdle();
  resident_ -= kMuch;
  trimmer_.OnIdle();
  resident_ += kMuch;
  trimmer_.OnIdle();
  EXPECT_EQ(num_trims_, 1);
}

TEST(ResidentBytesTest, IsWhatTheKernelSays) { EXPECT_GT(ResidentBytes(), 1 << 20); }

}  // namespace
}  // namespace paligemma
