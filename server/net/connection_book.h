// SPDX-License-Identifier: Apache-2.0
// The book of open connections: how many there are in all and per peer, and whether one more may
// come. Pure. Thread compatible.
#ifndef SERVER_NET_CONNECTION_BOOK_H_
#define SERVER_NET_CONNECTION_BOOK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "server/net/ip_address.h"

namespace paligemma::net {

// Why a connection was closed as soon as it was accepted.
enum class Refusal {
  kAll,          // there are as many connections as there may be
  kPeer,         // its peer has as many as a peer may have
  kDescriptors,  // the process has no descriptor left
};
inline constexpr int kNumRefusals = 3;

class ConnectionBook {
 public:
  struct Limits {
    std::int64_t all = 0;
    std::int64_t per_peer = 0;
    // Connections from here carry many clients' calls, and count in all only.
    std::vector<IpRange> proxies;
  };
  explicit ConnectionBook(Limits limits) : limits_(std::move(limits)) {}

  // Enters a connection, or returns why it may not come. `address` is nullopt for a connection
  // without an IP address, which counts in all only.
  std::optional<Refusal> Enter(const std::optional<IpAddress>& address);
  // Strikes out a connection that was entered with this address.
  void Leave(const std::optional<IpAddress>& address);

  std::int64_t num_open() const { return num_open_; }

 private:
  bool IsCounted(const std::optional<IpAddress>& address) const {
    return address.has_value() && !ContainedIn(limits_.proxies, *address);
  }

  const Limits limits_;
  std::int64_t num_open_ = 0;
  std::map<IpAddress, std::int64_t> by_peer_;  // without peers that have none
};

}  // namespace paligemma::net

#endif  // SERVER_NET_CONNECTION_BOOK_H_
