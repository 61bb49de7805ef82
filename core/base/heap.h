// SPDX-License-Identifier: Apache-2.0
// Sets how malloc treats freed memory.
#ifndef CORE_BASE_HEAP_H_
#define CORE_BASE_HEAP_H_

namespace paligemma {

// Keeps freed pages for the next image instead of returning them to the kernel and faulting them in
// again: up to 64 MiB at the end of each of two heaps, until malloc_trim() is called. Call this
// once, before other threads start.
void ConfigureHeap();

}  // namespace paligemma

#endif  // CORE_BASE_HEAP_H_
