// SPDX-License-Identifier: Apache-2.0
#include "core/model/image_slots.h"

#include <gmock/gmock.h>

namespace paligemma {
namespace {

ImageKey Key(std::uint8_t value) {
  ImageKey key{};
  key[0] = value;
  return key;
}

TEST(ImageSlotsTest, FindsAnImageAgainAndReplacesTheOldest) {
  ImageSlots slots(2);
  const int a = slots.Acquire(Key(1), true)->slot;
  slots.EndStep(true);
  const int b = slots.Acquire(Key(2), true)->slot;
  slots.EndStep(true);
  EXPECT_NE(a, b);
  EXPECT_TRUE(slots.Acquire(Key(1), true)->hit);  // b is now the oldest
  slots.EndStep(true);
  const auto c = slots.Acquire(Key(3), true);
  EXPECT_FALSE(c->hit);
  EXPECT_EQ(c->slot, b);
}

TEST(ImageSlotsTest, NeverReplacesAnImageOfTheRunningStep) {
  ImageSlots slots(2);
  ASSERT_TRUE(slots.Acquire(Key(1), true).has_value());
  ASSERT_TRUE(slots.Acquire(Key(2), true).has_value());
  EXPECT_FALSE(slots.Acquire(Key(3), true).has_value());
  slots.Grow(3);
  EXPECT_EQ(slots.Acquire(Key(3), true)->slot, 2);
}

TEST(ImageSlotsTest, AnImageThatMayNotBeCachedIsNeitherFoundNorKept) {
  ImageSlots slots(4);
  const int cached = slots.Acquire(Key(1), true)->slot;
  const auto own = slots.Acquire(Key(1), false);
  EXPECT_FALSE(own->hit);
  EXPECT_NE(own->slot, cached);
  slots.EndStep(true);
  EXPECT_EQ(slots.num_cached(), 1);
  EXPECT_EQ(slots.Acquire(Key(1), true)->slot, cached);
}

TEST(ImageSlotsTest, ForgetsWhatAFailedStepPlaced) {
  ImageSlots slots(4);
  slots.Acquire(Key(1), true);
  slots.EndStep(true);
  slots.Acquire(Key(1), true);
  slots.Acquire(Key(2), true);
  slots.EndStep(false);
  EXPECT_TRUE(slots.Acquire(Key(1), true)->hit);
  EXPECT_FALSE(slots.Acquire(Key(2), true)->hit);
}

}  // namespace
}  // namespace paligemma
