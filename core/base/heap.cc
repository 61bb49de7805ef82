// SPDX-License-Identifier: Apache-2.0
#include "core/base/heap.h"

#include <malloc.h>

namespace paligemma {

// NOLINTBEGIN(concurrency-mt-unsafe): there are no other threads yet
void ConfigureHeap() {
  // With one heap for each of many threads, every heap keeps the most that its thread ever held.
  mallopt(M_ARENA_MAX, 2);
  // glibc raises its own threshold to this value once a block of 32 MiB was freed. Until then it
  // trims the heap at twice the largest block freed so far, which is less than the pixels and the
  // coefficients of one JPEG need together.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}
// NOLINTEND(concurrency-mt-unsafe)

}  // namespace paligemma
