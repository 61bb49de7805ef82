// SPDX-License-Identifier: Apache-2.0
#include "core/kv/block_allocator.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace paligemma {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(BlockAllocatorTest, TakesNothingWhenTooFewAreFree) {
  BlockAllocator allocator(/*num_blocks=*/3);
  std::vector<BlockId> first, second;
  ASSERT_TRUE(allocator.TryAllocate(2, &first));
  EXPECT_FALSE(allocator.TryAllocate(2, &second));
  EXPECT_THAT(second, IsEmpty());
  EXPECT_EQ(allocator.num_free(), 1);
}

TEST(BlockAllocatorTest, HandsOutEachBlockOnce) {
  BlockAllocator allocator(/*num_blocks=*/3);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(allocator.TryAllocate(3, &blocks));
  EXPECT_THAT(blocks, UnorderedElementsAre(0, 1, 2));
  EXPECT_EQ(allocator.num_free(), 0);
}

TEST(BlockAllocatorTest, SharedBlockIsFreedByItsLastRelease) {
  BlockAllocator allocator(/*num_blocks=*/1);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(allocator.TryAllocate(1, &blocks));
  allocator.AddRef(blocks[0]);
  allocator.Release(blocks[0]);
  EXPECT_EQ(allocator.num_free(), 0);
  allocator.Release(blocks[0]);
  EXPECT_EQ(allocator.num_free(), 1);
}

TEST(BlockAllocatorDeathTest, AbortsWhenABlockIsFreedTwice) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  BlockAllocator allocator(/*num_blocks=*/1);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(allocator.TryAllocate(1, &blocks));
  allocator.Release(blocks[0]);
  EXPECT_DEATH(allocator.Release(blocks[0]), "freed twice");
}

}  // namespace
}  // namespace paligemma
