// SPDX-License-Identifier: Apache-2.0
// Attention in float32: whole prompts, where every row sees every row, and single rows over the
// pages of their sequences. A row's result depends on its own sequence alone, not on the batch or
// the threads. Query head i uses key head i / (heads / kv_heads).
#ifndef CORE_CPU_ATTENTION_H_
#define CORE_CPU_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "core/cpu/context.h"

namespace paligemma::cpu {

struct AttentionShape {
  int heads = 1;
  int kv_heads = 1;
  int head_dim = 1;
  float scale = 1;
  float softcap = 0;  // of the scaled scores; 0: none
};

// One prompt (or image). Rows of queries, keys and values are `stride` floats apart.
struct Prompt {
  const float* queries = nullptr;  // [length][heads * head_dim]
  const float* keys = nullptr;     // [length][kv_heads * head_dim]
  const float* values = nullptr;
  std::int64_t stride = 0;
  int length = 0;
  // Which rows attend, and where their results go: row rows[i] to out + targets[i] * out_stride.
  std::vector<int> rows;
  std::vector<int> targets;
};

// out: [targets][heads * head_dim], rows out_stride apart.
void AttendPrompt(const Context& context, const AttentionShape& shape, const Prompt& prompt,
                  float* out, std::int64_t out_stride);

enum class PageType { kFloat32, kBfloat16, kInt8 };

// Keys and values of one layer: [blocks][kv_heads][block_size][head_dim] each.
struct Pages {
  const void* keys = nullptr;
  const void* values = nullptr;
  const float* key_scales = nullptr;    // int8: [blocks][kv_heads][block_size], one for each row of
  const float* value_scales = nullptr;  // head_dim values; else null
  PageType type = PageType::kFloat32;
  int block_size = 1;
};

struct CachedRow {
  const float* query = nullptr;               // [heads * head_dim]
  const std::int32_t* block_table = nullptr;  // covers position last - 1
  int first = 0, last = 0;                    // sees [first, last); none: the result is zeros
  float* out = nullptr;                       // [heads * head_dim]
};

void AttendCached(const Context& context, const AttentionShape& shape, const Pages& pages,
                  const std::vector<CachedRow>& rows);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_ATTENTION_H_
