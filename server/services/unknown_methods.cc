// SPDX-License-Identifier: Apache-2.0
#include "server/services/unknown_methods.h"

#include <string>

#include "server/rpc/unknown_call.h"

namespace paligemma {
namespace {

constexpr size_t kMaxNameBytes = 128;
constexpr char kServed[] =
    "paligemma.v1.PaliGemmaService, paligemma.v1.ModelService, grpc.health.v1.Health";

Status NoSuchMethod(const std::string& name) {
  return Status(StatusCode::kUnimplemented, Reason::kMethodUnsupported,
                "there is no method " + name + " here; this server has " + kServed,
                {{"method", name}, {"supported", kServed}});
}

}  // namespace

void UnknownMethodHandler::Start(
    const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  auto method = std::make_shared<rpc::UnknownCall::Method>();
  method->service = &service_;
  method->registry = registry_;
  method->handle = [this](std::shared_ptr<rpc::UnknownCall> call) {
    const std::string name = call->name().substr(0, kMaxNameBytes);
    CallSession session(dependencies_, *call, "", name);
    const CallSession::Outcome outcome = session.Finish(NoSuchMethod(name), 0);
    call->Finish(outcome.status, outcome.trailers);
  };
  rpc::ArmOnAll<rpc::UnknownCall>(method, queues);
}

}  // namespace paligemma
