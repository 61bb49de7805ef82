// SPDX-License-Identifier: Apache-2.0
// The management port: /metrics, /livez, /readyz and /configz, on threads of its own, so that
// probes are answered under any load.
#ifndef SERVER_HTTP_MANAGEMENT_SERVER_H_
#define SERVER_HTTP_MANAGEMENT_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "core/base/status.h"
#include "server/http/http_server.h"

namespace paligemma {

class ManagementServer {
 public:
  // The answer of a probe: 200 or 503, and why.
  struct Probe {
    bool good = false;
    std::string text;  // lines
  };
  struct Pages {
    // Called by one thread; may wait for short locks and read files.
    std::function<std::string()> metrics, configz;
    // Called by another thread; must not wait for anything.
    std::function<Probe()> live, ready;
  };

  // Binds `address`, HOST:PORT. The error is one line.
  static StatusOr<std::unique_ptr<ManagementServer>> Start(const std::string& address, Pages pages,
                                                           const http::Limits& limits = {});
  ManagementServer(const ManagementServer&) = delete;
  ManagementServer& operator=(const ManagementServer&) = delete;

  int port() const { return server_->port(); }

 private:
  explicit ManagementServer(std::unique_ptr<http::Server> server) : server_(std::move(server)) {}
  const std::unique_ptr<http::Server> server_;
};

}  // namespace paligemma

#endif  // SERVER_HTTP_MANAGEMENT_SERVER_H_
