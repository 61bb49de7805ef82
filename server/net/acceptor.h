// SPDX-License-Identifier: Apache-2.0
// Accepts connections within bounds, and hands each of them to the function that serves it.
//
// One thread accepts. A connection beyond a bound is accepted and closed at once, so that its
// client knows and the kernel's backlog stays short. That needs a descriptor, so one is kept in
// reserve for the time when the process has none left.
//
// The thread keeps a duplicate of every descriptor that it hands over. The duplicate tells when the
// connection has ended: the server shuts a socket down before it closes it, and both that and the
// client's reset show as EPOLLHUP.
#ifndef SERVER_NET_ACCEPTOR_H_
#define SERVER_NET_ACCEPTOR_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/heartbeat.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "server/net/connection_book.h"
#include "server/net/descriptors.h"
#include "server/net/listener.h"

namespace paligemma::net {

// Thread safe.
class Acceptor {
 public:
  // All functions are called on the acceptor's thread.
  struct Options {
    ConnectionBook::Limits limits;
    // Serves a connection; owns the descriptor, which does not block. Must shut the socket down
    // before closing it.
    std::function<void(int fd)> take;
    std::function<void(Refusal)> on_refused;          // counts
    std::function<void(const std::string&)> warn;     // writes a line to the log
    std::chrono::milliseconds warn_interval{10'000};  // between two lines about the same refusal
    Heartbeats* heartbeats = nullptr;                 // may be null
  };

  // Takes the sockets over; Start() begins to accept. The error is one line.
  static StatusOr<std::unique_ptr<Acceptor>> Create(Listeners listeners, Options options);
  // Stops. Connections that were handed over stay open.
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  int port() const { return port_; }
  void Start();

  // Closes the listening sockets. Once this returns, no connection is handed over. Idempotent.
  void StopListening() PG_LOCKS_EXCLUDED(mutex_);

  // Connections that were handed over and have not ended.
  std::int64_t num_open() const { return num_open_.load(std::memory_order_relaxed); }

 private:
  using Client = std::optional<IpAddress>;
  enum class Turn { kAccepted, kEmpty, kPause };

  Acceptor(Listeners listeners, Options options);
  void Run();
  void Wake();
  void AcceptSome(int listener) PG_LOCKS_EXCLUDED(mutex_);
  Turn AcceptOne(int listener) PG_REQUIRES(mutex_);
  Turn AcceptWithReserve(int listener) PG_REQUIRES(mutex_);
  void HandOver(Descriptor connection, const Client& client);
  void Forget(int duplicate);
  void Refuse(Refusal refusal, const Client& client);
  bool Watch(int fd, std::uint32_t events);
  void Listen(bool on) PG_REQUIRES(mutex_);

  const Options options_;
  const int port_;
  Descriptor epoll_, wake_, reserve_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::int64_t> num_open_ = 0;

  Mutex mutex_;
  std::vector<Descriptor> listeners_ PG_GUARDED_BY(mutex_);

  // The thread's own.
  struct Connection {
    Descriptor duplicate;
    Client client;
  };
  struct Warnings {
    std::optional<TimePoint> last;
    std::int64_t unsaid = 0;
  };
  ConnectionBook book_;
  std::map<int, Connection> connections_;  // by their duplicate
  std::array<Warnings, kNumRefusals> warnings_;
  std::optional<TimePoint> resume_;  // when to accept again, during a pause

  std::unique_ptr<Heartbeat> heartbeat_;
  std::thread thread_;
};

}  // namespace paligemma::net

#endif  // SERVER_NET_ACCEPTOR_H_
