// SPDX-License-Identifier: Apache-2.0
#include "core/model/kv_cache_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include "core/base/cgroup.h"

namespace paligemma {
namespace {

constexpr double kMiB = 1 << 20;

std::string Mib(std::int64_t bytes) {
  std::ostringstream text;
  text.precision(bytes < 100 * kMiB ? 3 : 0);
  text << std::fixed << static_cast<double>(bytes) / kMiB << " MiB";
  return text.str();
}

// "256 x 2 bytes", "(256 x 1 + 4) bytes".
std::string BytesPerRow(const Architecture& model, const KvCacheRequest& request) {
  const std::string values =
      std::to_string(model.head_dim) + " x " + std::to_string(request.bytes_per_value);
  return request.bytes_per_scale == 0
             ? values + " bytes"
             : "(" + values + " + " + std::to_string(request.bytes_per_scale) + ") bytes";
}

}  // namespace

std::int64_t KvBytesPerBlock(const Architecture& model, const KvCacheRequest& request) {
  const std::int64_t bytes_per_row =
      std::int64_t{model.head_dim} * request.bytes_per_value + request.bytes_per_scale;
  return 2 * bytes_per_row * model.layers * model.kv_heads * request.block_size;
}

StatusOr<KvCachePlan> PlanKvCache(const Manifest& manifest, const KvCacheRequest& request) {
  const Architecture& model = manifest.architecture;
  KvCachePlan plan;
  plan.bytes_per_block = KvBytesPerBlock(model, request);
  const std::int64_t longest =
      (std::int64_t{model.max_positions} + request.block_size - 1) / request.block_size;
  const std::int64_t useful = longest * std::max(request.max_sequences, 1);
  const bool derived = request.budget_bytes <= 0;
  std::int64_t budget = request.budget_bytes;
  if (derived) {
    // one sequence is worth more than the margin: without it the server cannot start at all
    const std::int64_t one_sequence =
        std::min(longest * plan.bytes_per_block, request.available_bytes / 10 * 9);
    budget = std::max(request.available_bytes / 2, one_sequence);
  }
  std::int64_t blocks = budget / plan.bytes_per_block;
  blocks =
      std::min<std::int64_t>(blocks, std::numeric_limits<std::int32_t>::max() / request.block_size);
  if (derived) {
    blocks = std::min(blocks, useful);
  }
  std::ostringstream text;
  text << blocks << " blocks of " << request.block_size << " positions, 2 x " << model.layers
       << " layers x " << model.kv_heads << " heads x " << BytesPerRow(model, request) << " x "
       << request.block_size << " = " << Mib(plan.bytes_per_block) << " each, "
       << Mib(blocks * plan.bytes_per_block) << " together; ";
  if (derived) {
    text << "half of the " << Mib(request.available_bytes) << " available, at least one, at most "
         << request.max_sequences << " sequences of " << model.max_positions << " positions";
  } else {
    text << "as set";
  }
  plan.arithmetic = text.str();
  if (blocks < longest) {
    return Status(StatusCode::kFailedPrecondition,
                  "KV cache: " + Mib(budget) + " hold " + std::to_string(blocks) +
                      " blocks, one sequence of " + std::to_string(model.max_positions) +
                      " positions needs " + std::to_string(longest) + " (" +
                      Mib(longest * plan.bytes_per_block) + "); " +
                      (derived ? "free more memory" : "set --kv-cache-mib higher") +
                      " or take a smaller --kv-cache-dtype");
  }
  plan.num_blocks = static_cast<int>(blocks);
  return plan;
}

std::int64_t AvailableMemoryBytes() {
  std::int64_t available = std::numeric_limits<std::int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (line.starts_with("MemAvailable:")) {
      available = std::stoll(line.substr(13)) * 1024;
    }
  }
  return std::min(available, ReadCgroupLimits().memory_left);
}

}  // namespace paligemma
