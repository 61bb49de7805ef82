// SPDX-License-Identifier: Apache-2.0
#include "core/base/heap.h"

#include <malloc.h>

namespace paligemma {

// NOLINTBEGIN(concurrency-mt-unsafe): there are no other threads yet
void ConfigureHeap() {
  // A heap for each of many threads keeps what every one of them once held, and trims badly.
  mallopt(M_ARENA_MAX, 2);
  // Where glibc's own adjustment ends once something of 32 MiB was freed. Until then the end of the
  // heap is trimmed at twice the largest block freed so far, which is less than a JPEG's pixels and
  // coefficients need together.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}
// NOLINTEND(concurrency-mt-unsafe)

}  // namespace paligemma
