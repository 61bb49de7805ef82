// SPDX-License-Identifier: Apache-2.0
#include "server/http/management_server.h"

#include <utility>
#include <vector>

namespace paligemma {
namespace {

http::Response ToResponse(ManagementServer::Probe probe) {
  http::Response response;
  response.status = probe.good ? 200 : 503;
  response.body = std::move(probe.text);
  return response;
}

}  // namespace

StatusOr<std::unique_ptr<ManagementServer>> ManagementServer::Start(const std::string& address,
                                                                    Pages pages,
                                                                    const http::Limits& limits) {
  std::vector<http::Route> routes(4);
  routes[0].path = "/livez";
  routes[0].handler = [live = pages.live](const http::Request&) { return ToResponse(live()); };
  routes[1].path = "/readyz";
  routes[1].handler = [ready = pages.ready](const http::Request&) { return ToResponse(ready()); };
  routes[2].path = "/metrics";
  routes[2].slow = true;
  routes[2].handler = [metrics = pages.metrics](const http::Request&) {
    return http::Response{200, "text/plain; version=0.0.4; charset=utf-8", metrics()};
  };
  routes[3].path = "/configz";
  routes[3].slow = true;
  routes[3].handler = [configz = pages.configz](const http::Request&) {
    return http::Response{200, "application/json", configz()};
  };
  auto server = http::Server::Start(address, std::move(routes), limits);
  if (!server.ok()) {
    return Status(server.status().code(), "--http-listen: " + server.status().message());
  }
  return std::unique_ptr<ManagementServer>(new ManagementServer(std::move(server).value()));
}

}  // namespace paligemma
