// SPDX-License-Identifier: Apache-2.0
// How malloc treats what was freed.
#ifndef CORE_BASE_HEAP_H_
#define CORE_BASE_HEAP_H_

namespace paligemma {

// For a program that decodes pictures: a thread finds the pages of one picture again for the next,
// where malloc would give them back in between and a page fault would fetch each again. Keeps up
// to 64 MiB free at the end of each of two heaps, until malloc_trim. Once, before other threads.
void ConfigureHeap();

}  // namespace paligemma

#endif  // CORE_BASE_HEAP_H_
