// SPDX-License-Identifier: Apache-2.0
// PaliGemmaService on completion queues: parses, submits, and answers from the engine's sink.
#ifndef SERVER_SERVICES_PALIGEMMA_SERVICE_H_
#define SERVER_SERVICES_PALIGEMMA_SERVICE_H_

#include <grpcpp/server_builder.h>

#include <memory>
#include <vector>

#include "paligemma/v1/paligemma_service.grpc.pb.h"
#include "server/access/call_session.h"
#include "server/rpc/call.h"

namespace paligemma {

class PaliGemmaServiceHandler {
 public:
  // Both must outlive every call.
  PaliGemmaServiceHandler(const ServiceDependencies& dependencies, rpc::CallRegistry* registry)
      : dependencies_(dependencies), registry_(registry) {}
  PaliGemmaServiceHandler(const PaliGemmaServiceHandler&) = delete;
  PaliGemmaServiceHandler& operator=(const PaliGemmaServiceHandler&) = delete;

  grpc::Service* service() { return &service_; }

  // Waits for calls of every method on every queue. Call it once, after the server has started.
  void Start(const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues);

 private:
  // Methods that pass bytes on, since we parse them ourselves.
  template <typename Base>
  using Raw = v1::PaliGemmaService::WithRawMethod_Caption<
      v1::PaliGemmaService::WithRawMethod_Answer<v1::PaliGemmaService::WithRawMethod_Segment<
          v1::PaliGemmaService::WithRawMethod_Detect<v1::PaliGemmaService::WithRawMethod_ReadText<
              v1::PaliGemmaService::WithRawMethod_Generate<
                  v1::PaliGemmaService::WithRawMethod_StreamGenerate<Base>>>>>>>;
  using RawService = Raw<v1::PaliGemmaService::Service>;

  template <typename Request, typename Response, typename ArmMethod>
  void StartUnary(const char* name, ArmMethod method,
                  const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues);
  void StartStream(const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues);

  const ServiceDependencies& dependencies_;
  rpc::CallRegistry* const registry_;
  RawService service_;
};

}  // namespace paligemma

#endif  // SERVER_SERVICES_PALIGEMMA_SERVICE_H_
