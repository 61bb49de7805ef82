// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server: a few routes, bounded connections, and no thread for a connection, so
// that clients which send nothing or very slowly delay nobody.
//
// One thread does all input and output and calls the quick handlers; a second one calls the slow
// handlers. When all connections are taken, a new one takes the place of the connection that was
// answered longest ago and waits for its client.
//
// Boost.Beast parses and writes; only the .cc files of this folder see it. A JSON facade would add
// handlers that answer later and in parts, TLS another stream below Connection.
#ifndef SERVER_HTTP_HTTP_SERVER_H_
#define SERVER_HTTP_HTTP_SERVER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/duration.h"
#include "core/base/status.h"
#include "server/net/descriptors.h"

namespace paligemma::http {

struct Request {
  std::string path;  // without the query
  std::string body;
};

struct Response {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

// Answers GET and HEAD of one path.
struct Route {
  std::string path;
  // Must not throw. Called by one thread at a time.
  std::function<Response(const Request&)> handler;
  // If true, the handler may wait for a lock or read a file, and runs on the thread for slow
  // handlers.
  bool slow = false;
};

struct Limits {
  // Connections held at the same time; at most a quarter of the process's descriptors.
  std::size_t max_connections = net::kMaxManagementConnections;
  std::size_t max_header_bytes = 16 << 10;
  std::size_t max_body_bytes = 64 << 10;
  // A request must arrive within this time of its first byte, and a response be taken within it.
  Millis request_time{10'000};
  // Time that a connection may wait for its next request.
  Millis idle_time{60'000};
};

// Thread safe.
class Server {
 public:
  // Binds `address`, HOST:PORT, and serves. HOST is a name, an IPv4 address or an IPv6 address in
  // brackets. The error is one line without the name of a setting.
  static StatusOr<std::unique_ptr<Server>> Start(const std::string& address,
                                                 std::vector<Route> routes,
                                                 const Limits& limits = {});
  // Closes all connections. Waits for a handler that is running.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Returns the bound port, which matters for an address with port 0.
  int port() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace paligemma::http

#endif  // SERVER_HTTP_HTTP_SERVER_H_
