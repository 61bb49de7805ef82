// SPDX-License-Identifier: Apache-2.0
// ModelService describes the served model. It answers while the model is still being loaded, too.
#ifndef SERVER_SERVICES_MODEL_SERVICE_H_
#define SERVER_SERVICES_MODEL_SERVICE_H_

#include <grpcpp/server_builder.h>

#include <memory>
#include <vector>

#include "paligemma/v1/model_service.grpc.pb.h"
#include "server/access/call_session.h"
#include "server/rpc/call.h"

namespace paligemma {

// Returns the API's description of the model.
v1::Model DescribeModel(const ServiceDependencies& dependencies);

StatusOr<v1::ListModelsResponse> ListModels(const ServiceDependencies& dependencies,
                                            const v1::ListModelsRequest& request);
StatusOr<v1::GetModelResponse> GetModel(const ServiceDependencies& dependencies,
                                        const v1::GetModelRequest& request);

class ModelServiceHandler {
 public:
  // Both must outlive every call.
  ModelServiceHandler(const ServiceDependencies& dependencies, rpc::CallRegistry* registry)
      : dependencies_(dependencies), registry_(registry) {}

  grpc::Service* service() { return &service_; }
  void Start(const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues);

 private:
  const ServiceDependencies& dependencies_;
  rpc::CallRegistry* const registry_;
  v1::ModelService::WithRawMethod_ListModels<
      v1::ModelService::WithRawMethod_GetModel<v1::ModelService::Service>>
      service_;
};

}  // namespace paligemma

#endif  // SERVER_SERVICES_MODEL_SERVICE_H_
