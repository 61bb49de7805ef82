// SPDX-License-Identifier: Apache-2.0
#include "server/management_server.h"

#include <CivetServer.h>

#include <utility>
#include <vector>

namespace paligemma {
namespace {

constexpr char kText[] = "text/plain; charset=utf-8";

struct Page {
  int code = 200;
  std::string type = kText;
  std::string body;
};

class Handler : public CivetHandler {
 public:
  explicit Handler(std::function<Page()> make) : make_(std::move(make)) {}

  bool handleGet(CivetServer*, mg_connection* connection) override {
    const Page page = make_();
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\n\r\n",
              page.code, page.code == 200 ? "OK" : "Service Unavailable", page.type.c_str(),
              page.body.size());
    mg_write(connection, page.body.data(), page.body.size());
    return true;
  }

 private:
  const std::function<Page()> make_;
};

Page Probe(const std::function<bool()>& good) {
  if (good()) return {200, kText, "ok\n"};
  return {503, kText, "no\n"};
}

int NoAccessLog(const mg_connection*, const char*) { return 1; }

}  // namespace

struct ManagementServer::Impl {
  std::vector<std::unique_ptr<Handler>> handlers;
  std::unique_ptr<CivetServer> server;  // last: stopped before its handlers go
};

ManagementServer::ManagementServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ManagementServer::~ManagementServer() = default;

StatusOr<std::unique_ptr<ManagementServer>> ManagementServer::Start(const std::string& address,
                                                                    Pages pages) {
  auto impl = std::make_unique<Impl>();
  const std::vector<std::string> options = {
      "listening_ports",       address, "num_threads",        "4",    "enable_keep_alive", "yes",
      "keep_alive_timeout_ms", "5000",  "request_timeout_ms", "10000"};
  CivetCallbacks callbacks;
  callbacks.log_message = NoAccessLog;
  try {
    impl->server = std::make_unique<CivetServer>(options, &callbacks);
  } catch (const CivetException&) {
    return Status(StatusCode::kUnavailable,
                  "--http-listen: cannot listen on " + address + "; is the port taken?");
  }
  const auto add = [&impl](const char* path, std::function<Page()> make) {
    impl->handlers.push_back(std::make_unique<Handler>(std::move(make)));
    // "$" ends the pattern: /metrics/more is not found.
    impl->server->addHandler(std::string(path) + "$", impl->handlers.back().get());
  };
  add("/metrics", [metrics = pages.metrics] {
    return Page{200, "text/plain; version=0.0.4; charset=utf-8", metrics()};
  });
  add("/livez", [live = pages.live] { return Probe(live); });
  add("/readyz", [ready = pages.ready] { return Probe(ready); });
  add("/configz", [configz = pages.configz] { return Page{200, "application/json", configz()}; });
  return std::unique_ptr<ManagementServer>(new ManagementServer(std::move(impl)));
}

int ManagementServer::port() const {
  const std::vector<int> ports = impl_->server->getListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

}  // namespace paligemma
