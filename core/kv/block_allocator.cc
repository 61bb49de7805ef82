// SPDX-License-Identifier: Apache-2.0
#include "core/kv/block_allocator.h"

#include "core/base/check.h"

namespace paligemma {

BlockAllocator::BlockAllocator(int num_blocks) {
  PG_CHECK(num_blocks > 0) << "a KV cache without blocks";
  ref_counts_.assign(num_blocks, 0);
  free_blocks_.reserve(num_blocks);
  for (BlockId block = num_blocks - 1; block >= 0; --block) free_blocks_.push_back(block);
}

bool BlockAllocator::TryAllocate(int count, std::vector<BlockId>* blocks) {
  PG_CHECK(count >= 0) << "a negative number of blocks";
  if (count > num_free()) return false;
  for (int i = 0; i < count; ++i) {
    const BlockId block = free_blocks_.back();
    free_blocks_.pop_back();
    ref_counts_[block] = 1;
    blocks->push_back(block);
  }
  return true;
}

void BlockAllocator::AddRef(BlockId block) {
  PG_CHECK(block >= 0 && block < num_blocks() && ref_counts_[block] > 0)
      << "block " << block << " is not in use";
  ++ref_counts_[block];
}

void BlockAllocator::Release(BlockId block) {
  PG_CHECK(block >= 0 && block < num_blocks() && ref_counts_[block] > 0)
      << "block " << block << " is freed twice";
  if (--ref_counts_[block] == 0) free_blocks_.push_back(block);
}

}  // namespace paligemma
