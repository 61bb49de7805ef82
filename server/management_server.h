// SPDX-License-Identifier: Apache-2.0
// The HTTP side: /metrics, /livez, /readyz, /configz, on threads of its own, so that probes and
// scrapes are answered under any load.
#ifndef SERVER_MANAGEMENT_SERVER_H_
#define SERVER_MANAGEMENT_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "core/base/status.h"

namespace paligemma {

class ManagementServer {
 public:
  // Called from the server's threads, several at a time; none may block.
  struct Pages {
    std::function<std::string()> metrics, configz;
    std::function<bool()> live, ready;
  };

  // Binds `address`, HOST:PORT. The error is one line.
  static StatusOr<std::unique_ptr<ManagementServer>> Start(const std::string& address, Pages pages);
  ~ManagementServer();
  ManagementServer(const ManagementServer&) = delete;
  ManagementServer& operator=(const ManagementServer&) = delete;

  int port() const;

 private:
  struct Impl;
  explicit ManagementServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace paligemma

#endif  // SERVER_MANAGEMENT_SERVER_H_
