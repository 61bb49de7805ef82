// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/attention.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/cpu/aligned_buffer.h"
#include "core/cpu/kernels.h"
#include "core/cpu/packed_matrix.h"

namespace paligemma::cpu {
namespace {

// Queries that pass over a head's keys together. Four times the rows that a product takes at once:
// keys and values are read from the second-level cache a quarter as often, and a prompt of 268 rows
// still makes tiles enough to share out.
constexpr int kQueryRows = 24;

// The keys and values of one head as the product kernels read matrices: scores are products with
// the keys (an output per key), results are products with the values (an output per dimension).
class PackedHead {
 public:
  PackedHead(int length, int head_dim)
      : length_(length),
        head_dim_(head_dim),
        keys_(NumPanels(length) * head_dim * kPanel),
        values_(NumPanels(head_dim) * length * kPanel) {}

  // Rows are `stride` apart.
  void Fill(const float* keys, const float* values, std::int64_t stride) {
    std::fill_n(keys_.data(), NumPanels(length_) * head_dim_ * kPanel, 0.f);
    std::fill_n(values_.data(), NumPanels(head_dim_) * length_ * kPanel, 0.f);
    for (std::int64_t row = 0; row < length_; ++row) {
      float* key = keys_.data() + row / kPanel * head_dim_ * kPanel + row % kPanel;
      for (std::int64_t i = 0; i < head_dim_; ++i) {
        key[i * kPanel] = keys[row * stride + i];
      }
      for (std::int64_t first = 0; first < head_dim_; first += kPanel) {
        std::copy_n(values + row * stride + first, std::min(kPanel, head_dim_ - first),
                    values_.data() + (first / kPanel * length_ + row) * kPanel);
      }
    }
  }

  const float* keys(std::int64_t panel) const { return keys_.data() + panel * head_dim_ * kPanel; }
  const float* values(std::int64_t panel) const {
    return values_.data() + panel * length_ * kPanel;
  }

 private:
  const std::int64_t length_, head_dim_;
  AlignedBuffer<float> keys_, values_;
};

const std::uint32_t* Words(const float* values) {
  return reinterpret_cast<const std::uint32_t*>(values);
}

// Rows prompt.rows[first, first + count) of one query head.
void AttendRows(const Kernels& kernels, const AttentionShape& shape, const Prompt& prompt,
                const PackedHead& head, int query_head, int first, int count, float* out,
                std::int64_t out_stride) {
  const std::int64_t dim = shape.head_dim, key_panels = NumPanels(prompt.length);
  const std::int64_t width = key_panels * kPanel, wide_dim = NumPanels(dim) * kPanel;
  AlignedBuffer<float> queries(count * dim), scores(count * width), results(count * wide_dim);
  for (int i = 0; i < count; ++i) {
    std::copy_n(prompt.queries + prompt.rows[first + i] * prompt.stride + query_head * dim, dim,
                queries.data() + i * dim);
  }
  PanelJob job;
  job.num_rows = count;
  job.rows = Words(queries.data());
  job.row_stride = dim;
  job.num_steps = static_cast<int>(dim);
  job.y_stride = width;
  for (std::int64_t panel = 0; panel < key_panels; ++panel) {
    job.weights = Words(head.keys(panel));
    job.y = scores.data() + panel * kPanel;
    kernels.float32_panel(job);
  }
  for (int i = 0; i < count; ++i) {
    kernels.softmax(prompt.length, prompt.length, shape.scale, shape.softcap,
                    scores.data() + i * width);
  }
  job.rows = Words(scores.data());
  job.row_stride = width;
  job.num_steps = prompt.length;
  job.y_stride = wide_dim;
  for (std::int64_t panel = 0; panel * kPanel < dim; ++panel) {
    job.weights = Words(head.values(panel));
    job.y = results.data() + panel * kPanel;
    kernels.float32_panel(job);
  }
  for (int i = 0; i < count; ++i) {
    std::copy_n(results.data() + i * wide_dim, dim,
                out + prompt.targets[first + i] * out_stride + query_head * dim);
  }
}

using PageKernel = void (*)(const CachedJob&);

PageKernel KernelOf(const Kernels& kernels, PageType type) {
  switch (type) {
    case PageType::kFloat32:
      return kernels.attend_float32_pages;
    case PageType::kBfloat16:
      return kernels.attend_bfloat16_pages;
    case PageType::kInt8:
      return kernels.attend_int8_pages;
  }
  return nullptr;
}

int BytesOf(PageType type) {
  return type == PageType::kFloat32 ? 4 : type == PageType::kBfloat16 ? 2 : 1;
}

// The rows of `pages` that belong to a head, in block 0.
const void* OfHead(const void* pages, std::int64_t bytes, int head) {
  return static_cast<const char*>(pages) + head * bytes;
}
const float* OfHead(const float* scales, int block_size, int head) {
  return scales == nullptr ? nullptr : scales + std::int64_t{head} * block_size;
}

}  // namespace

void AttendPrompt(const Context& context, const AttentionShape& shape, const Prompt& prompt,
                  float* out, std::int64_t out_stride) {
  PG_CHECK(prompt.rows.size() == prompt.targets.size());
  if (prompt.rows.empty()) {
    return;
  }
  const Kernels& kernels = KernelsFor(context.isa);
  std::vector<PackedHead> packed;
  for (int head = 0; head < shape.kv_heads; ++head) {
    packed.emplace_back(prompt.length, shape.head_dim);
  }
  context.Run(shape.kv_heads, [&](int head) {
    packed[head].Fill(prompt.keys + head * shape.head_dim, prompt.values + head * shape.head_dim,
                      prompt.stride);
  });
  const int num_rows = static_cast<int>(prompt.rows.size());
  const int tiles = (num_rows + kQueryRows - 1) / kQueryRows;
  context.Run(shape.heads * tiles, [&](int task) {
    const int head = task / tiles, first = task % tiles * kQueryRows;
    AttendRows(kernels, shape, prompt, packed[head / (shape.heads / shape.kv_heads)], head, first,
               std::min(kQueryRows, num_rows - first), out, out_stride);
  });
}

void AttendCached(const Context& context, const AttentionShape& shape, const Pages& pages,
                  const std::vector<CachedRow>& rows) {
  PG_CHECK((pages.type == PageType::kInt8) == (pages.key_scales != nullptr) &&
           (pages.type == PageType::kInt8) == (pages.value_scales != nullptr));
  const PageKernel kernel = KernelOf(KernelsFor(context.isa), pages.type);
  const int group = shape.heads / shape.kv_heads;
  const std::int64_t page_bytes =
      std::int64_t{pages.block_size} * shape.head_dim * BytesOf(pages.type);
  context.Run(static_cast<int>(rows.size()) * shape.kv_heads, [&](int task) {
    const CachedRow& row = rows[task / shape.kv_heads];
    const int kv_head = task % shape.kv_heads, offset = kv_head * group * shape.head_dim;
    if (row.first >= row.last) {
      std::fill_n(row.out + offset, group * shape.head_dim, 0.f);
      return;
    }
    AlignedBuffer<float> scores(row.last - row.first);
    CachedJob job;
    job.queries = row.query + offset;
    job.group = group;
    job.head_dim = shape.head_dim;
    job.scale = shape.scale;
    job.softcap = shape.softcap;
    job.keys = OfHead(pages.keys, page_bytes, kv_head);
    job.values = OfHead(pages.values, page_bytes, kv_head);
    job.key_scales = OfHead(pages.key_scales, pages.block_size, kv_head);
    job.value_scales = OfHead(pages.value_scales, pages.block_size, kv_head);
    job.block_stride = std::int64_t{pages.block_size} * shape.kv_heads;
    job.block_table = row.block_table;
    job.block_size = pages.block_size;
    job.first = row.first;
    job.last = row.last;
    job.scores = scores.data();
    job.out = row.out + offset;
    kernel(job);
  });
}

}  // namespace paligemma::cpu
