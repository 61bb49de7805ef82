// SPDX-License-Identifier: Apache-2.0
// Listening sockets for an address as people write it.
#ifndef SERVER_NET_LISTENER_H_
#define SERVER_NET_LISTENER_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "server/net/descriptors.h"

namespace paligemma::net {

struct HostPort {
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
};

// Splits HOST:PORT at its last colon. Returns nullopt if there is none.
std::optional<HostPort> SplitHostPort(const std::string& address);

struct Listeners {
  std::vector<Descriptor> sockets;  // do not block
  int port = 0;
};

// Listens on every address of HOST:PORT. HOST is a name, an IPv4 address, or an IPv6 address in
// brackets; the wildcard of either kind listens on both. Port 0 picks a free port, the same for all
// addresses. Connections are given up when the peer acknowledges nothing for `unacknowledged`. The
// error is one line without the name of a setting.
StatusOr<Listeners> Listen(const std::string& address, std::chrono::milliseconds unacknowledged);

}  // namespace paligemma::net

#endif  // SERVER_NET_LISTENER_H_
