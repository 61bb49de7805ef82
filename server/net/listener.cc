// SPDX-License-Identifier: Apache-2.0
#include "server/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace paligemma::net {
namespace {

constexpr int kBacklog = 4096;  // the kernel takes its own maximum if that is less

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

std::uint16_t* PortOf(sockaddr_storage* address) {
  return address->ss_family == AF_INET6 ? &reinterpret_cast<sockaddr_in6*>(address)->sin6_port
                                        : &reinterpret_cast<sockaddr_in*>(address)->sin_port;
}

void SetOption(int socket, int level, int name, int value) {
  setsockopt(socket, level, name, &value, sizeof(value));
}

// Returns a socket that listens, or none with errno. Accepted sockets inherit its TCP options.
Descriptor ListenOn(const sockaddr_storage& address, socklen_t size,
                    std::chrono::milliseconds unacknowledged) {
  Descriptor listener(::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener.ok()) return {};
  SetOption(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);  // else a restart waits for TIME_WAIT
  SetOption(listener.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(listener.get(), IPPROTO_TCP, TCP_USER_TIMEOUT,
            static_cast<int>(unacknowledged.count()));
  if (address.ss_family == AF_INET6) SetOption(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  const auto* const bound = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(listener.get(), bound, size) != 0 || ::listen(listener.get(), kBacklog) != 0)
    return {};
  return listener;
}

bool IsWildcard(const addrinfo& entry) {
  if (entry.ai_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in*>(entry.ai_addr)->sin_addr.s_addr == INADDR_ANY;
  }
  const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(entry.ai_addr)->sin6_addr;
  return std::memcmp(&address, &in6addr_any, sizeof(address)) == 0;
}

// Listens on one address, at listeners->port unless that is 0. Returns errno, or 0.
int Add(const addrinfo& entry, std::chrono::milliseconds unacknowledged, Listeners* listeners) {
  sockaddr_storage address{};
  socklen_t size = entry.ai_addrlen;
  std::memcpy(&address, entry.ai_addr, size);
  if (listeners->port != 0) *PortOf(&address) = htons(static_cast<std::uint16_t>(listeners->port));
  Descriptor listener;
  if (IsWildcard(entry)) {  // both kinds in one socket, where the machine has IPv6
    sockaddr_storage both{};
    both.ss_family = AF_INET6;
    *PortOf(&both) = *PortOf(&address);
    listener = ListenOn(both, sizeof(sockaddr_in6), unacknowledged);
    if (!listener.ok() && errno == EADDRINUSE) return errno;
  }
  if (!listener.ok()) listener = ListenOn(address, size, unacknowledged);
  if (!listener.ok()) return errno;
  size = sizeof(address);
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return errno;
  listeners->port = ntohs(*PortOf(&address));
  listeners->sockets.push_back(std::move(listener));
  return 0;
}

}  // namespace

std::optional<HostPort> SplitHostPort(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  HostPort parts{address.substr(0, colon), address.substr(colon + 1)};
  if (parts.host.starts_with('[') && parts.host.ends_with(']')) {
    parts.host = parts.host.substr(1, parts.host.size() - 2);
  }
  return parts;
}

StatusOr<Listeners> Listen(const std::string& address, std::chrono::milliseconds unacknowledged) {
  const auto failed = [&address](const char* why) {
    return Status(StatusCode::kUnavailable, "cannot listen on " + address + ": " + why);
  };
  const std::optional<HostPort> parts = SplitHostPort(address);
  if (!parts.has_value()) return failed("it must be HOST:PORT");
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int unknown = getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &list);
  if (unknown != 0) return failed(gai_strerror(unknown));
  const Addresses addresses(list);
  Listeners listeners;
  int problem = 0;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    const int error = Add(*entry, unacknowledged, &listeners);
    if (error == EADDRINUSE) return failed("the port is taken");
    if (error != 0) problem = error;
    if (error == 0 && IsWildcard(*entry)) break;
  }
  // A name may have addresses that this machine lacks, as IPv6's where that is turned off.
  if (listeners.sockets.empty()) return failed(std::strerror(problem));
  return listeners;
}

}  // namespace paligemma::net
