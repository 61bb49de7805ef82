// SPDX-License-Identifier: Apache-2.0
// The client's end of a connection over the loopback interface.
#ifndef TESTS_SERVER_NET_CLIENT_SOCKET_H_
#define TESTS_SERVER_NET_CLIENT_SOCKET_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdint>

#include "server/net/descriptors.h"

namespace paligemma::net {

inline Descriptor NewSocket() {
  return Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

// Returns false, with errno, when nobody listens there.
inline bool ConnectTo(int port, const Descriptor& client) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// Returns a connected socket, or none.
inline Descriptor Connect(int port) {
  Descriptor client = NewSocket();
  if (!ConnectTo(port, client)) return {};
  return client;
}

// Waits until the server has closed its end. Returns false after 20 s.
inline bool AwaitClosed(const Descriptor& client) {
  pollfd waited{client.get(), POLLIN, 0};
  if (::poll(&waited, 1, 20'000) != 1) return false;
  char byte = 0;
  return ::recv(client.get(), &byte, 1, 0) <= 0;
}

}  // namespace paligemma::net

#endif  // TESTS_SERVER_NET_CLIENT_SOCKET_H_
