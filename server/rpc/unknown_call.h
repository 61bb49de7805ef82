// SPDX-License-Identifier: Apache-2.0
// A call of a method that no service has.
#ifndef SERVER_RPC_UNKNOWN_CALL_H_
#define SERVER_RPC_UNKNOWN_CALL_H_

#include <grpcpp/generic/async_generic_service.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/rpc/call.h"

namespace paligemma::rpc {

class UnknownCall : public Call {
 public:
  struct Method {
    grpc::AsyncGenericService* service = nullptr;
    std::function<void(std::shared_ptr<UnknownCall>)> handle;
    CallRegistry* registry = nullptr;
  };

  static void Arm(std::shared_ptr<const Method> method, grpc::ServerCompletionQueue* queue) {
    CallRegistry* const registry = method->registry;
    registry->ArmUnlessStopping([&] {
      auto call = std::make_shared<UnknownCall>(method, queue);
      call->ExpectDone();
      method->service->RequestCall(&call->context_, &call->stream_, queue, queue,
                                   call->NewTag(Event::kArrived));
    });
  }

  UnknownCall(std::shared_ptr<const Method> method, grpc::ServerCompletionQueue* queue)
      : Call(method->registry), method_(std::move(method)), queue_(queue), stream_(&context_) {}

  // As the client wrote it, "/package.Service/Method".
  const std::string& name() const { return context_.method(); }

  // Once; from the handler.
  void Finish(const grpc::Status& status, const Trailers& trailers) {
    for (const auto& [key, value] : trailers) context_.AddTrailingMetadata(key, value);
    stream_.Finish(status, NewTag(Event::kFinished));
  }

 private:
  void OnArrived() override {
    Arm(method_, queue_);
    method_->handle(std::static_pointer_cast<UnknownCall>(shared_from_this()));
  }
  void OnEvent(Event, bool) override {}

  const std::shared_ptr<const Method> method_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::GenericServerAsyncReaderWriter stream_;
};

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_UNKNOWN_CALL_H_
