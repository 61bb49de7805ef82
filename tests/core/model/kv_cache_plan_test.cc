// SPDX-License-Identifier: Apache-2.0
#include "core/model/kv_cache_plan.h"

#include <gmock/gmock.h>

namespace paligemma {
namespace {

using ::testing::HasSubstr;

Manifest SmallManifest() {
  Manifest manifest;
  manifest.architecture.layers = 26;
  manifest.architecture.kv_heads = 4;
  manifest.architecture.head_dim = 256;
  manifest.architecture.max_positions = 1024;
  return manifest;
}

TEST(KvCachePlanTest, CountsTheBytesOfABlock) {
  const auto plan =
      PlanKvCache(SmallManifest(), {.bytes_per_value = 2, .budget_bytes = std::int64_t{1} << 30});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->bytes_per_block, 2 * 26 * 4 * 256 * 2 * 16);
  EXPECT_EQ(plan->num_blocks, (1 << 30) / plan->bytes_per_block);
  EXPECT_THAT(plan->arithmetic, HasSubstr("2 x 26 layers x 4 heads x 256 x 2 bytes x 16"));
}

TEST(KvCachePlanTest, CountsTheScalesOfInt8) {
  const auto plan = PlanKvCache(
      SmallManifest(), {.bytes_per_value = 1, .bytes_per_scale = 4, .budget_bytes = 1 << 30});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->bytes_per_block, 2 * 26 * 4 * (256 + 4) * 16);
  EXPECT_THAT(plan->arithmetic, HasSubstr("x 4 heads x (256 x 1 + 4) bytes x 16"));
}

TEST(KvCachePlanTest, DerivesNoMoreThanTheSequencesCanUse) {
  const auto plan =
      PlanKvCache(SmallManifest(), {.available_bytes = std::int64_t{1} << 40, .max_sequences = 3});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks, 3 * 64);
}

TEST(KvCachePlanTest, DerivesOneWholeSequenceWhereHalfOfWhatIsAvailableIsLess) {
  const std::int64_t one_sequence = 64 * KvBytesPerBlock(SmallManifest().architecture, {});
  const auto plan = PlanKvCache(SmallManifest(), {.available_bytes = one_sequence * 10 / 8});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks, 64);
}

TEST(KvCachePlanTest, RefusesACacheThatHoldsNoWholeSequenceAndSaysWhatToDo) {
  const auto plan = PlanKvCache(SmallManifest(), {.budget_bytes = 1 << 20});
  EXPECT_EQ(plan.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(plan.status().message(), HasSubstr("needs 64"));
  EXPECT_THAT(plan.status().message(), HasSubstr("set --kv-cache-mib higher"));
  const auto derived = PlanKvCache(SmallManifest(), {.available_bytes = 1 << 20});
  EXPECT_THAT(derived.status().message(), HasSubstr("free more memory"));
}

TEST(KvCachePlanTest, KnowsWhatIsAvailableHere) { EXPECT_GT(AvailableMemoryBytes(), 1 << 20); }

}  // namespace
}  // namespace paligemma
