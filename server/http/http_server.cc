// SPDX-License-Identifier: Apache-2.0
#include "server/http/http_server.h"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <exception>
#include <thread>
#include <utility>

#include "server/http/connection.h"
#include "server/net/listener.h"

namespace paligemma::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// How long the server waits before it accepts again when the process has no descriptor left.
constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace

class Server::Impl {
 public:
  Impl(std::vector<Route> routes, const Limits& limits)
      : routes_(std::move(routes)), limits_(limits) {
    limits_.max_connections = net::ManagementConnections(limits.max_connections);
  }

  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
    pages_.stop();
    pages_.join();
  }

  // Returns why it cannot, or an empty string.
  std::string Bind(const std::string& address);
  void Start();
  int port() const { return port_; }

 private:
  void Run();
  void Accept();
  void AcceptOne();
  void Pause();
  void Answer(bool is_read, Request request, Connection::Finish finish);

  const std::vector<Route> routes_;
  Limits limits_;
  const Connection::Answer answer_ = [this](bool is_read, Request request,
                                            Connection::Finish finish) {
    Answer(is_read, std::move(request), std::move(finish));
  };
  ConnectionTable table_;
  // Operations hold connections, which use what is above; tasks of pages_ use io_.
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  asio::steady_timer pause_{io_};
  bool pausing_ = false;
  asio::thread_pool pages_{1};
  int port_ = 0;
  std::thread thread_;
};

std::string Server::Impl::Bind(const std::string& address) {
  const auto [host, port] = net::SplitHostPort(address).value_or(net::HostPort{address, ""});
  error_code error;
  const auto endpoints = tcp::resolver(io_).resolve(
      host, port, tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return error.message();
  for (const auto& entry : endpoints) {
    acceptor_.close(error);
    acceptor_.open(entry.endpoint().protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(entry.endpoint(), error);
    if (!error) acceptor_.non_blocking(true, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) {
      port_ = acceptor_.local_endpoint(error).port();
      return "";
    }
  }
  return error.message();
}

void Server::Impl::Start() {
  asio::post(pages_, [] { pthread_setname_np(pthread_self(), "pg-http-pages"); });
  Accept();
  thread_ = std::thread([this] { Run(); });
}

void Server::Impl::Run() {
  pthread_setname_np(pthread_self(), "pg-http");
  for (;;) {
    try {
      io_.run();
      return;
    } catch (const std::exception&) {
      // Memory ran out: whose operation it was has lost its connection, the rest goes on.
    }
  }
}

void Server::Impl::Accept() {
  // Waits before it accepts: the kernel reports that no descriptor is left even when nobody comes.
  acceptor_.async_wait(tcp::acceptor::wait_read, [this](error_code error) {
    if (error == asio::error::operation_aborted) return;
    try {
      AcceptOne();
    } catch (const std::exception&) {
      // Memory ran out: this connection is closed.
    }
    if (pausing_) return;
    Accept();
  });
}

void Server::Impl::AcceptOne() {
  error_code error;
  tcp::socket socket = acceptor_.accept(error);
  if (error == asio::error::would_block || error == asio::error::connection_aborted) return;
  if (error && table_.CloseOldest()) socket = acceptor_.accept(error);
  if (error) {
    Pause();
    return;
  }
  if (table_.size() >= limits_.max_connections && !table_.CloseOldest()) return;  // closes it
  std::make_shared<Connection>(std::move(socket), &table_, &answer_, &limits_)->Await();
}

void Server::Impl::Pause() {
  pausing_ = true;
  pause_.expires_after(kAcceptPause);
  pause_.async_wait([this](error_code /*error*/) {
    pausing_ = false;
    Accept();
  });
}

void Server::Impl::Answer(bool is_read, Request request, Connection::Finish finish) {
  const auto route = std::find_if(routes_.begin(), routes_.end(),
                                  [&](const Route& r) { return r.path == request.path; });
  if (route == routes_.end()) {
    std::string text = "not found; this port has";
    for (const Route& known : routes_) text += " " + known.path;
    finish({404, Response().type, text + "\n"});
  } else if (!is_read) {
    finish({405, Response().type, "only GET and HEAD are answered\n"});
  } else if (!route->slow) {
    finish(route->handler(request));
  } else {
    // The connection dies on the I/O thread: this one hands its share of it back.
    asio::post(
        pages_, [this, route, request = std::move(request), finish = std::move(finish)]() mutable {
          asio::post(io_, [response = route->handler(request),
                           finish = std::move(finish)]() mutable { finish(std::move(response)); });
        });
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

StatusOr<std::unique_ptr<Server>> Server::Start(const std::string& address,
                                                std::vector<Route> routes, const Limits& limits) {
  auto impl = std::make_unique<Impl>(std::move(routes), limits);
  if (const std::string why = impl->Bind(address); !why.empty()) {
    return Status(StatusCode::kUnavailable, "cannot listen on " + address + ": " + why);
  }
  impl->Start();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

int Server::port() const { return impl_->port(); }

}  // namespace paligemma::http
