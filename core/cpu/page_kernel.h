// SPDX-License-Identifier: Apache-2.0
// Attention of one row over the pages of its sequence, bound by reading them. Included by the files
// that are compiled for one instruction set, after the header that defines Vector.
#ifndef CORE_CPU_PAGE_KERNEL_H_
#define CORE_CPU_PAGE_KERNEL_H_

#include <cstdint>

#include "core/cpu/kernels.h"
#include "core/cpu/row_kernels.h"

namespace paligemma::cpu {
namespace {

inline Vector LoadValues(const float* p) { return Vector::Load(p); }
inline Vector LoadValues(const std::uint16_t* p) { return Vector::LoadBfloat16(p); }
inline Vector LoadValues(const std::int8_t* p) { return Vector::LoadInt8(p); }
template <typename Value>
inline Vector LoadFirstValues(const Value* p, int count) {
  Value whole[Vector::kWidth] = {};
  for (int i = 0; i < count; ++i) {
    whole[i] = p[i];
  }
  return LoadValues(whole);
}

// Calls body(row, position - first) for the seen positions, in ascending order; `row` counts the
// rows of head_dim values from block 0 on.
template <typename Body>
inline void ForEachRow(const CachedJob& job, const Body& body) {
  for (int position = job.first; position < job.last;) {
    const int block = position / job.block_size;
    const int end =
        job.last < (block + 1) * job.block_size ? job.last : (block + 1) * job.block_size;
    const std::int64_t page = job.block_table[block] * job.block_stride;
    for (; position < end; ++position) {
      body(page + position % job.block_size, position - job.first);
    }
  }
}

// Multiplies what belongs to each position by the scale of its row, where rows have one.
inline void ApplyScales(const CachedJob& job, const float* scales) {
  if (scales != nullptr) {
    ForEachRow(job, [&](std::int64_t row, int i) { job.scores[i] *= scales[row]; });
  }
}

template <typename Value>
inline float Dot(const float* query, const Value* key, int count) {
  Vector sum = Vector::Zero();
  int i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    sum = Vector::MultiplyAdd(Vector::Load(query + i), LoadValues(key + i), sum);
  }
  if (i < count) {
    sum = Vector::MultiplyAdd(Vector::LoadFirst(query + i, count - i),
                              LoadFirstValues(key + i, count - i), sum);
  }
  return sum.Sum();
}

// out[first, first + kVectors * kWidth) = the weighted sum of the values' rows.
template <typename Value, int kVectors>
inline void SumValues(const CachedJob& job, int first, float* out) {
  Vector sums[kVectors];
  for (Vector& sum : sums) {
    sum = Vector::Zero();
  }
  const Value* const values = static_cast<const Value*>(job.values) + first;
  ForEachRow(job, [&](std::int64_t row, int i) {
    const Value* const own = values + row * job.head_dim;
    const Vector weight = Vector::All(job.scores[i]);
    for (int k = 0; k < kVectors; ++k) {
      sums[k] = Vector::MultiplyAdd(weight, LoadValues(own + k * Vector::kWidth), sums[k]);
    }
  });
  for (int k = 0; k < kVectors; ++k) {
    sums[k].Store(out + first + k * Vector::kWidth);
  }
}

template <typename Value>
inline void SumLastValues(const CachedJob& job, int first, float* out) {
  const int rest = job.head_dim - first;
  Vector sum = Vector::Zero();
  const Value* const values = static_cast<const Value*>(job.values) + first;
  ForEachRow(job, [&](std::int64_t row, int i) {
    sum = Vector::MultiplyAdd(Vector::All(job.scores[i]),
                              LoadFirstValues(values + row * job.head_dim, rest), sum);
  });
  sum.StoreFirst(out + first, rest);
}

template <typename Value>
void AttendPages(const CachedJob& job) {
  const int count = job.last - job.first;
  for (int head = 0; head < job.group; ++head) {
    const float* query = job.queries + head * job.head_dim;
    float* out = job.out + head * job.head_dim;
    const Value* const keys = static_cast<const Value*>(job.keys);
    ForEachRow(job, [&](std::int64_t row, int i) {
      job.scores[i] = Dot(query, keys + row * job.head_dim, job.head_dim);
    });
    ApplyScales(job, job.key_scales);
    Softmax(count, count, job.scale, job.softcap, job.scores);
    ApplyScales(job, job.value_scales);
    int first = 0;
    for (; first + 8 * Vector::kWidth <= job.head_dim; first += 8 * Vector::kWidth) {
      SumValues<Value, 8>(job, first, out);
    }
    for (; first + Vector::kWidth <= job.head_dim; first += Vector::kWidth) {
      SumValues<Value, 1>(job, first, out);
    }
    if (first < job.head_dim) {
      SumLastValues<Value>(job, first, out);
    }
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_PAGE_KERNEL_H_
