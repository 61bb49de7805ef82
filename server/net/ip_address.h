// SPDX-License-Identifier: Apache-2.0
// IP addresses as the bounds of connections and the log see them. Pure; values.
#ifndef SERVER_NET_IP_ADDRESS_H_
#define SERVER_NET_IP_ADDRESS_H_

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace paligemma::net {

// An IPv4 or IPv6 address. An IPv4 address is the same whether it came as such or mapped into IPv6.
class IpAddress {
 public:
  // Reads "192.0.2.7" or "2001:db8::7", without port, brackets or zone.
  static std::optional<IpAddress> Parse(std::string_view text);
  // Returns nullopt unless `address` is AF_INET or AF_INET6.
  static std::optional<IpAddress> Of(const sockaddr_storage& address);

  bool is_v4() const;
  // Returns who counts as one peer: an IPv4 address, or the /64 of an IPv6 address, since one host
  // may use all addresses of its /64.
  IpAddress Peer() const { return is_v4() ? *this : First(64); }
  // Returns the address with all bits behind the first `bits` of its 128 set to zero.
  IpAddress First(int bits) const;
  std::string ToString() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};  // in network order; IPv4 as ::ffff:a.b.c.d
};

// A range of addresses: "10.0.0.0/8", "fd00::/8", or a single address.
class IpRange {
 public:
  static std::optional<IpRange> Parse(std::string_view text);
  bool Contains(const IpAddress& address) const { return address.First(bits_) == base_; }

 private:
  IpAddress base_;
  int bits_ = 128;  // an IPv4 prefix counts the 96 bits of the mapping too
};

// Reads ranges that commas separate. Returns nullopt if one of them is none.
std::optional<std::vector<IpRange>> ParseRanges(std::string_view text);
bool ContainedIn(const std::vector<IpRange>& ranges, const IpAddress& address);

// Returns the address in gRPC's name of a peer: "ipv4:192.0.2.7:1234",
// "ipv6:%5B2001:db8::7%5D:1234".
std::optional<IpAddress> AddressOfPeer(std::string_view peer);

// Returns the client's address as trusted proxies tell it: the last address in `forwarded`, the
// value of x-forwarded-for, that is not a trusted proxy's. What stands before that address may be
// the client's invention. Returns nullopt if `forwarded` ends in something that is no address.
std::optional<IpAddress> ForwardedClient(const std::vector<IpRange>& proxies,
                                         std::string_view forwarded);

}  // namespace paligemma::net

#endif  // SERVER_NET_IP_ADDRESS_H_
