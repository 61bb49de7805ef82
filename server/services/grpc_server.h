// SPDX-License-Identifier: Apache-2.0
// The gRPC listener: both services, health and reflection on one port.
#ifndef SERVER_SERVICES_GRPC_SERVER_H_
#define SERVER_SERVICES_GRPC_SERVER_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <thread>

#include "core/base/mutex.h"
#include "server/access/call_session.h"
#include "server/net/acceptor.h"
#include "server/rpc/completion_threads.h"
#include "server/services/model_service.h"
#include "server/services/paligemma_service.h"
#include "server/services/unknown_methods.h"

namespace paligemma {

class GrpcServer {
 public:
  // Binds --listen and serves. `dependencies` must outlive the server. The error is one line.
  static StatusOr<std::unique_ptr<GrpcServer>> Start(const ServiceDependencies& dependencies);
  // Cancels the calls in flight and waits until the engine has released each of them, however long
  // that takes. A process that cannot wait ends without this destructor.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  int port() const { return acceptor_->port(); }
  std::int64_t num_connections() const { return acceptor_->num_open(); }

  // Sets the health of "", of the service and of "readiness" by `serving`, and of "liveness" by
  // `live`.
  void SetHealth(bool serving, bool live);

  // Accepts no more connections, sends GOAWAY, lets calls finish for `patience`, then cancels them.
  // Returns true if every call ended by itself. Returns at the latest kCancelGrace after
  // `patience`; calls that the engine holds may be alive then. REQUIRES: called once.
  bool Shutdown(std::chrono::milliseconds patience) PG_LOCKS_EXCLUDED(mutex_);
  static constexpr std::chrono::milliseconds kCancelGrace{200};

  // Cancels the calls in flight, for a Shutdown() that waits for them. Thread safe.
  void CancelCalls() { registry_.CancelAll(); }

 private:
  explicit GrpcServer(const ServiceDependencies& dependencies);
  // Body of shutdown_thread_.
  void RunShutdown(std::chrono::system_clock::time_point deadline) PG_LOCKS_EXCLUDED(mutex_);

  rpc::CallRegistry registry_;
  PaliGemmaServiceHandler paligemma_;
  ModelServiceHandler models_;
  UnknownMethodHandler unknown_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<rpc::CompletionThreads> threads_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<net::Acceptor> acceptor_;  // hands over to connections_

  Mutex mutex_;
  CondVar changed_;
  bool calls_ended_ PG_GUARDED_BY(mutex_) = false;    // no call is alive
  bool ended_in_time_ PG_GUARDED_BY(mutex_) = false;  // none had to be cancelled
  std::thread shutdown_thread_;  // waits for the calls, which gRPC does without a bound
};

}  // namespace paligemma

#endif  // SERVER_SERVICES_GRPC_SERVER_H_
