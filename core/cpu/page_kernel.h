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
inline Vector LoadFirstValues(const float* p, int count) { return Vector::LoadFirst(p, count); }
inline Vector LoadFirstValues(const std::uint16_t* p, int count) {
  std::uint16_t whole[Vector::kWidth] = {};
  for (int i = 0; i < count; ++i) {
    whole[i] = p[i];
  }
  return Vector::LoadBfloat16(whole);
}

// Calls body(row, position - first) for the rows of the seen positions, in ascending order.
template <typename Value, typename Body>
inline void ForEachRow(const CachedJob& job, const void* pages, const Body& body) {
  for (int position = job.first; position < job.last;) {
    const int block = position / job.block_size;
    const int end =
        job.last < (block + 1) * job.block_size ? job.last : (block + 1) * job.block_size;
    const Value* page =
        static_cast<const Value*>(pages) + job.block_table[block] * job.block_stride;
    for (; position < end; ++position) {
      body(page + std::int64_t{position % job.block_size} * job.head_dim, position - job.first);
    }
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
  ForEachRow<Value>(job, job.values, [&](const Value* row, int i) {
    const Vector weight = Vector::All(job.scores[i]);
    for (int k = 0; k < kVectors; ++k) {
      sums[k] = Vector::MultiplyAdd(weight, LoadValues(row + first + k * Vector::kWidth), sums[k]);
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
  ForEachRow<Value>(job, job.values, [&](const Value* row, int i) {
    sum = Vector::MultiplyAdd(Vector::All(job.scores[i]), LoadFirstValues(row + first, rest), sum);
  });
  sum.StoreFirst(out + first, rest);
}

template <typename Value>
void AttendPages(const CachedJob& job) {
  const int count = job.last - job.first;
  for (int head = 0; head < job.group; ++head) {
    const float* query = job.queries + head * job.head_dim;
    float* out = job.out + head * job.head_dim;
    ForEachRow<Value>(job, job.keys, [&](const Value* row, int i) {
      job.scores[i] = Dot(query, row, job.head_dim);
    });
    Softmax(count, count, job.scale, job.softcap, job.scores);
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
