// SPDX-License-Identifier: Apache-2.0
// Answers calls of unknown methods with UNIMPLEMENTED and the names of the services that exist.
#ifndef SERVER_SERVICES_UNKNOWN_METHODS_H_
#define SERVER_SERVICES_UNKNOWN_METHODS_H_

#include <grpcpp/server_builder.h>

#include <memory>
#include <vector>

#include "server/access/call_session.h"
#include "server/rpc/call.h"

namespace paligemma {

class UnknownMethodHandler {
 public:
  // Both must outlive every call.
  UnknownMethodHandler(const ServiceDependencies& dependencies, rpc::CallRegistry* registry)
      : dependencies_(dependencies), registry_(registry) {}

  grpc::AsyncGenericService* service() { return &service_; }
  void Start(const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues);

 private:
  const ServiceDependencies& dependencies_;
  rpc::CallRegistry* const registry_;
  grpc::AsyncGenericService service_;
};

}  // namespace paligemma

#endif  // SERVER_SERVICES_UNKNOWN_METHODS_H_
