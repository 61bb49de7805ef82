// SPDX-License-Identifier: Apache-2.0
#include "server/net/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace paligemma::net {
namespace {

constexpr std::array<std::uint8_t, 12> kMapping = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappingBits = 96;

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string terminated(text);
  if (terminated.size() != std::strlen(terminated.c_str())) return std::nullopt;
  IpAddress address;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes_.data()) == 1) return address;
  std::copy(kMapping.begin(), kMapping.end(), address.bytes_.begin());
  if (inet_pton(AF_INET, terminated.c_str(), &address.bytes_[kMapping.size()]) == 1) return address;
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::Of(const sockaddr_storage& address) {
  IpAddress result;
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof(v6));
    std::memcpy(result.bytes_.data(), &v6.sin6_addr, sizeof(v6.sin6_addr));
    return result;
  }
  if (address.ss_family != AF_INET) return std::nullopt;
  sockaddr_in v4;
  std::memcpy(&v4, &address, sizeof(v4));
  std::copy(kMapping.begin(), kMapping.end(), result.bytes_.begin());
  std::memcpy(&result.bytes_[kMapping.size()], &v4.sin_addr, sizeof(v4.sin_addr));
  return result;
}

bool IpAddress::is_v4() const {
  return std::equal(kMapping.begin(), kMapping.end(), bytes_.begin());
}

IpAddress IpAddress::First(int bits) const {
  IpAddress result = *this;
  for (int i = 0; i < 16; ++i) {
    const int kept = std::clamp(bits - 8 * i, 0, 8);
    result.bytes_[i] &= static_cast<std::uint8_t>(0xff00 >> kept);
  }
  return result;
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_v4()) {
    inet_ntop(AF_INET, &bytes_[kMapping.size()], text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof(text));
  }
  return text;
}

std::optional<IpRange> IpRange::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto base = IpAddress::Parse(text.substr(0, slash));
  if (!base.has_value()) return std::nullopt;
  IpRange range;
  if (slash != std::string_view::npos) {
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + slash + 1, end, range.bits_);
    const bool v4 = text.find(':') == std::string_view::npos;
    if (error != std::errc() || rest != end || range.bits_ < 0 || range.bits_ > (v4 ? 32 : 128)) {
      return std::nullopt;
    }
    if (v4) range.bits_ += kMappingBits;
  }
  range.base_ = base->First(range.bits_);
  return range;
}

std::optional<std::vector<IpRange>> ParseRanges(std::string_view text) {
  std::vector<IpRange> ranges;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const auto range = IpRange::Parse(Trimmed(text.substr(0, comma)));
    if (!range.has_value()) return std::nullopt;
    ranges.push_back(*range);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return ranges;
}

bool ContainedIn(const std::vector<IpRange>& ranges, const IpAddress& address) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const IpRange& range) { return range.Contains(address); });
}

std::optional<IpAddress> AddressOfPeer(std::string_view peer) {
  const size_t scheme = peer.find(':');
  const size_t port = peer.rfind(':');
  if (scheme == std::string_view::npos || port <= scheme) return std::nullopt;
  std::string_view host = peer.substr(scheme + 1, port - scheme - 1);
  for (const auto& [open, close] : {std::pair("%5B", "%5D"), std::pair("[", "]")}) {
    if (!host.starts_with(open) || !host.ends_with(close)) continue;
    host.remove_prefix(std::strlen(open));
    host.remove_suffix(std::strlen(close));
  }
  return IpAddress::Parse(host);
}

std::optional<IpAddress> ForwardedClient(const std::vector<IpRange>& proxies,
                                         std::string_view forwarded) {
  std::optional<IpAddress> client;
  for (;;) {
    const size_t comma = forwarded.rfind(',');
    const bool last = comma == std::string_view::npos;
    const auto address = IpAddress::Parse(Trimmed(last ? forwarded : forwarded.substr(comma + 1)));
    if (!address.has_value()) return client;
    client = address;
    if (last || !ContainedIn(proxies, *address)) return client;
    forwarded = forwarded.substr(0, comma);
  }
}

}  // namespace paligemma::net
