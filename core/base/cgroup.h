// SPDX-License-Identifier: Apache-2.0
// What the control groups of this process, version 1 or 2, let it use.
#ifndef CORE_BASE_CGROUP_H_
#define CORE_BASE_CGROUP_H_

#include <cstdint>
#include <limits>
#include <string>

namespace paligemma {

struct CgroupLimits {
  double cpus = std::numeric_limits<double>::infinity();
  // Bytes below the memory limit. File pages that the kernel can give back count as free.
  std::int64_t memory_left = std::numeric_limits<std::int64_t>::max();
};

// The tightest limits of the process's groups and the groups around them. A limit that cannot be
// read is none. `root` is the folder that holds proc/ and sys/.
CgroupLimits ReadCgroupLimits(const std::string& root = "/");

// Whole CPUs to compute on: `limits.cpus` rounded to the nearest, between 1 and `machine_cpus`.
int GrantedCpus(const CgroupLimits& limits, int machine_cpus);

}  // namespace paligemma

#endif  // CORE_BASE_CGROUP_H_
