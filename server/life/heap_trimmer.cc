// SPDX-License-Identifier: Apache-2.0
#include "server/life/heap_trimmer.h"

#include <unistd.h>

#include <fstream>

namespace paligemma {

std::int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  return file >> total >> resident ? resident * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace paligemma
