// SPDX-License-Identifier: Apache-2.0
// How large the KV cache becomes, with the arithmetic as text for the start-up summary.
#ifndef CORE_MODEL_KV_CACHE_PLAN_H_
#define CORE_MODEL_KV_CACHE_PLAN_H_

#include <cstdint>
#include <string>

#include "core/base/status.h"
#include "core/bundle/manifest.h"

namespace paligemma {

struct KvCacheRequest {
  int block_size = 16;  // token positions
  int bytes_per_value = 4;
  int bytes_per_scale = 0;           // of one position and head; 0: values without one
  std::int64_t budget_bytes = 0;     // > 0: use this much; 0: derive it
  std::int64_t available_bytes = 0;  // free on the device, weights already there
  int max_sequences = 64;            // that run at the same time
};

struct KvCachePlan {
  std::int64_t bytes_per_block = 0;
  int num_blocks = 0;
  // "1024 blocks of 16 positions: 2 x 26 layers x 4 heads x 256 x 4 bytes x 16 = 3.25 MiB each,
  // ..."
  std::string arithmetic;
};

// K and V of one block, over all layers.
std::int64_t KvBytesPerBlock(const Architecture& model, const KvCacheRequest& request);

// Derived: half of what is available, more if one sequence of full length needs it (up to nine
// tenths), and never more than max_sequences of full length could use.
// FAILED_PRECONDITION if not even one sequence of the longest allowed length fits.
StatusOr<KvCachePlan> PlanKvCache(const Manifest& manifest, const KvCacheRequest& request);

// Memory that this process may still take: the machine's available memory or what its cgroup
// leaves, whichever is less.
std::int64_t AvailableMemoryBytes();

}  // namespace paligemma

#endif  // CORE_MODEL_KV_CACHE_PLAN_H_
