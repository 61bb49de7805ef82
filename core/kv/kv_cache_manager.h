// SPDX-License-Identifier: Apache-2.0
// Keeps the block table of each sequence: position p lies in the block p / block_size of the table.
// It handles integers only.
//
// Thread safety: none; the engine thread owns it. num_blocks(), block_size() and BlocksFor() are
// constant and may be read from anywhere.
#ifndef CORE_KV_KV_CACHE_MANAGER_H_
#define CORE_KV_KV_CACHE_MANAGER_H_

#include <unordered_map>
#include <vector>

#include "core/base/types.h"
#include "core/kv/block_allocator.h"

namespace paligemma {

class KvCacheManager {
 public:
  // `block_size`: token positions in a block. REQUIRES: both > 0.
  KvCacheManager(int num_blocks, int block_size);

  // Grows the table of `sequence` to cover `num_positions`, and never shrinks it. Returns false and
  // changes nothing if too few blocks are free.
  [[nodiscard]] bool TryReserve(SequenceId sequence, int num_positions);

  // Frees all blocks of `sequence`, which may hold none.
  void Release(SequenceId sequence);

  // Returns the table of a sequence, empty if it holds no block. The reference is valid until the
  // next call that changes a table.
  const std::vector<BlockId>& block_table(SequenceId sequence) const;

  int BlocksFor(int num_positions) const { return (num_positions + block_size_ - 1) / block_size_; }
  int num_held(SequenceId sequence) const { return static_cast<int>(block_table(sequence).size()); }
  int num_sequences() const { return static_cast<int>(tables_.size()); }
  int num_blocks() const { return allocator_.num_blocks(); }
  int num_free() const { return allocator_.num_free(); }
  int num_used() const { return num_blocks() - num_free(); }
  int block_size() const { return block_size_; }

  // For tests. Aborts unless every used block stands in as many tables as it has references.
  void CheckInvariants() const;

 private:
  const int block_size_;
  BlockAllocator allocator_;
  std::unordered_map<SequenceId, std::vector<BlockId>> tables_;
};

}  // namespace paligemma

#endif  // CORE_KV_KV_CACHE_MANAGER_H_
