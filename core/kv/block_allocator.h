// SPDX-License-Identifier: Apache-2.0
// Hands out the ids of fixed-size KV blocks and counts the references to each. It handles integers
// only; the tensors belong to the model runner.
//
// Thread safety: none; the engine thread owns it.
// Invariant: num_free() + blocks with a reference == num_blocks().
#ifndef CORE_KV_BLOCK_ALLOCATOR_H_
#define CORE_KV_BLOCK_ALLOCATOR_H_

#include <vector>

#include "core/base/types.h"

namespace paligemma {

class BlockAllocator {
 public:
  // REQUIRES: num_blocks > 0.
  explicit BlockAllocator(int num_blocks);

  // Appends `count` blocks, each with one reference, to `*blocks`. Returns false and changes
  // nothing if fewer blocks are free.
  [[nodiscard]] bool TryAllocate(int count, std::vector<BlockId>* blocks);

  // Adds a reference, for a block that several sequences share. REQUIRES: `block` is in use.
  void AddRef(BlockId block);

  // Drops a reference, and frees the block with its last one. REQUIRES: `block` is in use.
  void Release(BlockId block);

  int num_blocks() const { return static_cast<int>(ref_counts_.size()); }
  int num_free() const { return static_cast<int>(free_blocks_.size()); }
  int ref_count(BlockId block) const { return ref_counts_.at(block); }

 private:
  std::vector<BlockId> free_blocks_;  // a stack: blocks used last are used first
  std::vector<int> ref_counts_;       // by BlockId; 0: free
};

}  // namespace paligemma

#endif  // CORE_KV_BLOCK_ALLOCATOR_H_
