// SPDX-License-Identifier: Apache-2.0
#include "server/net/descriptors.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace paligemma::net {
namespace {

// Descriptors that files, threads and libraries hold.
constexpr std::int64_t kOthers = 128;

// Returns the soft limit, or nullopt if it bounds nothing.
std::optional<std::int64_t> SoftLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) return std::nullopt;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

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

std::size_t ManagementConnections(std::size_t wanted) {
  const std::optional<std::int64_t> all = SoftLimit();
  if (!all.has_value()) return wanted;
  return std::clamp<std::size_t>(static_cast<std::size_t>(*all / 4), 1, wanted);
}

std::int64_t AffordableConnections() {
  const std::optional<std::int64_t> all = SoftLimit();
  if (!all.has_value()) return INT32_MAX;
  const auto management = static_cast<std::int64_t>(ManagementConnections());
  return std::max<std::int64_t>(1, (*all - management - kOthers) / 2);
}

}  // namespace paligemma::net
