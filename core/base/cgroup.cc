// SPDX-License-Identifier: Apache-2.0
#include "core/base/cgroup.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace paligemma {
namespace {

std::optional<double> NumberIn(const std::string& path) {
  std::ifstream file(path);
  double value = 0;
  if (file >> value) {
    return value;
  }
  return std::nullopt;
}

// The number behind `key` in a file of lines "key number"; 0 if there is none.
double NumberOf(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string name;
  for (double value = 0; file >> name >> value;) {
    if (name == key) {
      return value;
    }
  }
  return 0;
}

// `mount` + path and the folders above it, down to `mount`. In a container the path may be that of
// the host, of which only the mount itself exists.
std::vector<std::string> FoldersOf(const std::string& mount, std::string path) {
  std::vector<std::string> folders;
  while (!path.empty() && path != "/") {
    folders.push_back(mount + path + "/");
    path.resize(path.rfind('/'));
  }
  folders.push_back(mount + "/");
  return folders;
}

void Lower(double cpus, CgroupLimits* limits) {
  if (cpus > 0) {
    limits->cpus = std::min(limits->cpus, cpus);
  }
}

void LowerMemory(std::optional<double> limit, std::optional<double> used, double reclaimable,
                 CgroupLimits* limits) {
  constexpr double kNone = 0x1p62;  // version 1 writes about 2^63 where there is no limit
  if (!limit || !used || *limit >= kNone) {
    return;
  }
  const double left = std::max(0., *limit - std::max(0., *used - reclaimable));
  limits->memory_left = std::min(limits->memory_left, static_cast<std::int64_t>(left));
}

void ReadVersion2(const std::string& folder, CgroupLimits* limits) {
  std::ifstream file(folder + "cpu.max");
  double quota = 0, period = 0;  // the quota may be the word "max"
  if (file >> quota >> period && period > 0) {
    Lower(quota / period, limits);
  }
  LowerMemory(NumberIn(folder + "memory.max"), NumberIn(folder + "memory.current"),
              NumberOf(folder + "memory.stat", "inactive_file"), limits);
}

void ReadCpuVersion1(const std::string& folder, CgroupLimits* limits) {
  const auto quota = NumberIn(folder + "cpu.cfs_quota_us");  // -1: none
  const auto period = NumberIn(folder + "cpu.cfs_period_us");
  if (quota && period && *period > 0) {
    Lower(*quota / *period, limits);
  }
}

void ReadMemoryVersion1(const std::string& folder, CgroupLimits* limits) {
  LowerMemory(NumberIn(folder + "memory.limit_in_bytes"),
              NumberIn(folder + "memory.usage_in_bytes"),
              NumberOf(folder + "memory.stat", "total_inactive_file"), limits);
}

}  // namespace

CgroupLimits ReadCgroupLimits(const std::string& root) {
  CgroupLimits limits;
  const std::string mounts = root + "/sys/fs/cgroup";
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (!path.starts_with('/')) {
      continue;
    }
    if (controllers.empty()) {
      for (const std::string& folder : FoldersOf(mounts, path)) {
        ReadVersion2(folder, &limits);
      }
      continue;
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) {
      for (const std::string& folder : FoldersOf(mounts + "/" + name, path)) {
        if (name == "cpu") {
          ReadCpuVersion1(folder, &limits);
        } else if (name == "memory") {
          ReadMemoryVersion1(folder, &limits);
        }
      }
    }
  }
  return limits;
}

int GrantedCpus(const CgroupLimits& limits, int machine_cpus) {
  const double most = std::max(1, machine_cpus);
  return static_cast<int>(std::clamp(std::floor(limits.cpus + 0.5), 1., most));
}

}  // namespace paligemma
