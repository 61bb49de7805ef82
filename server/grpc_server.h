// SPDX-License-Identifier: Apache-2.0
// The gRPC listener: both services, health and reflection on one port.
#ifndef SERVER_GRPC_SERVER_H_
#define SERVER_GRPC_SERVER_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include <memory>

#include "server/call_session.h"
#include "server/model_service.h"
#include "server/paligemma_service.h"
#include "server/rpc/completion_threads.h"
#include "server/unknown_methods.h"

namespace paligemma {

class GrpcServer {
 public:
  // Binds the port and serves. `dependencies` must outlive the server. The error is one line.
  static StatusOr<std::unique_ptr<GrpcServer>> Start(const ServiceDependencies& dependencies);
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  int port() const { return port_; }

  // What the health service says of "", the service and "readiness"; "liveness" follows `live`.
  void SetHealth(bool serving, bool live);

  // Sends GOAWAY, lets calls finish until `deadline`, then cancels them. False when some call had
  // to be cancelled. Afterwards no call is alive. Idempotent.
  bool Shutdown(std::chrono::milliseconds patience);

  // Cancels the calls in flight, for a Shutdown() that waits for them. Thread safe.
  void CancelCalls() { registry_.CancelAll(); }

 private:
  explicit GrpcServer(const ServiceDependencies& dependencies);

  rpc::CallRegistry registry_;
  PaliGemmaServiceHandler paligemma_;
  ModelServiceHandler models_;
  UnknownMethodHandler unknown_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<rpc::CompletionThreads> threads_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  bool shut_down_ = false;
};

}  // namespace paligemma

#endif  // SERVER_GRPC_SERVER_H_
