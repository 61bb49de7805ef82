// SPDX-License-Identifier: Apache-2.0
#include "core/kv/kv_cache_manager.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace paligemma {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(KvCacheManagerTest, TableCoversThePositionsAndNoMore) {
  KvCacheManager kv(/*num_blocks=*/8, /*block_size=*/4);
  ASSERT_TRUE(kv.TryReserve(1, 4));
  EXPECT_THAT(kv.block_table(1), SizeIs(1));
  ASSERT_TRUE(kv.TryReserve(1, 5));
  EXPECT_THAT(kv.block_table(1), SizeIs(2));
  kv.CheckInvariants();
}

TEST(KvCacheManagerTest, GrowingKeepsTheBlocksThatAreThere) {
  KvCacheManager kv(/*num_blocks=*/8, /*block_size=*/4);
  ASSERT_TRUE(kv.TryReserve(1, 4));
  const BlockId first = kv.block_table(1)[0];
  ASSERT_TRUE(kv.TryReserve(2, 4));
  ASSERT_TRUE(kv.TryReserve(1, 9));
  EXPECT_EQ(kv.block_table(1)[0], first);
}

TEST(KvCacheManagerTest, TakesNothingWhenTooFewAreFree) {
  KvCacheManager kv(/*num_blocks=*/3, /*block_size=*/4);
  ASSERT_TRUE(kv.TryReserve(1, 8));
  EXPECT_FALSE(kv.TryReserve(2, 8));
  EXPECT_THAT(kv.block_table(2), IsEmpty());
  EXPECT_FALSE(kv.TryReserve(1, 16));
  EXPECT_THAT(kv.block_table(1), SizeIs(2));
  EXPECT_EQ(kv.num_free(), 1);
  EXPECT_EQ(kv.num_sequences(), 1);
}

TEST(KvCacheManagerTest, ReleaseGivesEverythingBackAndMayBeRepeated) {
  KvCacheManager kv(/*num_blocks=*/3, /*block_size=*/4);
  ASSERT_TRUE(kv.TryReserve(1, 12));
  kv.Release(1);
  kv.Release(1);
  EXPECT_EQ(kv.num_used(), 0);
  EXPECT_EQ(kv.num_sequences(), 0);
}

}  // namespace
}  // namespace paligemma
