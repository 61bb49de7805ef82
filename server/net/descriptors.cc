// SPDX-License-Identifier: Apache-2.0
#include "server/net/descriptors.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace paligemma::net {
namespace {

// Descriptors that files, threads and libraries hold.
constexpr std::int64_t kOthers = 128;
// The management port takes at most a quarter of all descriptors, and no more than this.
constexpr std::int64_t kManagement = 1024;

}  // namespace

void Descriptor::Close() {
  if (ok()) ::close(Release());
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::int64_t AffordableConnections() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) return INT32_MAX;
  const auto all = static_cast<std::int64_t>(limit.rlim_cur);
  return std::max<std::int64_t>(1, (all - std::min(all / 4, kManagement) - kOthers) / 2);
}

}  // namespace paligemma::net
