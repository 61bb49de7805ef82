// SPDX-License-Identifier: Apache-2.0
#include "core/kv/kv_cache_manager.h"

#include "core/base/check.h"

namespace paligemma {

KvCacheManager::KvCacheManager(int num_blocks, int block_size)
    : block_size_(block_size), allocator_(num_blocks) {
  PG_CHECK(block_size > 0) << "a KV block without positions";
}

bool KvCacheManager::TryReserve(SequenceId sequence, int num_positions) {
  const auto found = tables_.find(sequence);
  const int held = found == tables_.end() ? 0 : static_cast<int>(found->second.size());
  const int missing = BlocksFor(num_positions) - held;
  if (missing <= 0) return true;
  if (missing > num_free()) return false;
  return allocator_.TryAllocate(missing,
                                found == tables_.end() ? &tables_[sequence] : &found->second);
}

void KvCacheManager::Release(SequenceId sequence) {
  const auto found = tables_.find(sequence);
  if (found == tables_.end()) return;
  for (const BlockId block : found->second) allocator_.Release(block);
  tables_.erase(found);
}

const std::vector<BlockId>& KvCacheManager::block_table(SequenceId sequence) const {
  static const std::vector<BlockId>* const none = new std::vector<BlockId>();
  const auto found = tables_.find(sequence);
  return found == tables_.end() ? *none : found->second;
}

void KvCacheManager::CheckInvariants() const {
  std::vector<int> uses(num_blocks(), 0);
  for (const auto& [sequence, table] : tables_) {
    for (const BlockId block : table) ++uses.at(block);
  }
  int used = 0;
  for (BlockId block = 0; block < num_blocks(); ++block) {
    PG_CHECK(uses[block] == allocator_.ref_count(block))
        << "block " << block << " stands in " << uses[block] << " tables";
    if (uses[block] > 0) ++used;
  }
  PG_CHECK(used + num_free() == num_blocks()) << "blocks are lost";
}

}  // namespace paligemma
