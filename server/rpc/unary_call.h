// SPDX-License-Identifier: Apache-2.0
// A call with one request and one response. Both are bytes.
#ifndef SERVER_RPC_UNARY_CALL_H_
#define SERVER_RPC_UNARY_CALL_H_

#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <utility>

#include "server/rpc/call.h"

namespace paligemma::rpc {

class UnaryCall : public Call {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;
  // How a method waits for its next call and handles it. Shared by all calls of the method.
  struct Method {
    std::function<void(grpc::ServerContext*, grpc::ByteBuffer*, Writer*,
                       grpc::ServerCompletionQueue*, void* tag)>
        arm;
    std::function<void(std::shared_ptr<UnaryCall>)> handle;
    CallRegistry* registry = nullptr;
  };

  // Waits for one more call of `method` on `queue`.
  static void Arm(std::shared_ptr<const Method> method, grpc::ServerCompletionQueue* queue) {
    CallRegistry* const registry = method->registry;
    registry->ArmUnlessStopping([&] {
      auto call = std::make_shared<UnaryCall>(method, queue);
      call->ExpectDone();
      method->arm(&call->context_, &call->request_, &call->writer_, queue,
                  call->NewTag(Event::kArrived));
    });
  }

  UnaryCall(std::shared_ptr<const Method> method, grpc::ServerCompletionQueue* queue)
      : Call(method->registry), method_(std::move(method)), queue_(queue), writer_(&context_) {}

  // Belongs to the handler, which must not touch it after Finish().
  grpc::ByteBuffer* request() { return &request_; }

  // Ends the call. Later calls of Finish() have no effect. `response` is sent only with OK. Thread
  // safe.
  void Finish(const grpc::Status& status, const grpc::ByteBuffer& response,
              const Trailers& trailers = {}) {
    MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
    for (const auto& [key, value] : trailers) context_.AddTrailingMetadata(key, value);
    Tag* const tag = NewTag(Event::kFinished);
    if (status.ok()) {
      writer_.Finish(response, status, tag);
    } else {
      writer_.FinishWithError(status, tag);
    }
  }

 private:
  void OnArrived() override {
    Arm(method_, queue_);
    method_->handle(std::static_pointer_cast<UnaryCall>(shared_from_this()));
  }
  void OnEvent(Event, bool) override {}

  const std::shared_ptr<const Method> method_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::ByteBuffer request_;
  Writer writer_;
  Mutex mutex_;
  bool finished_ PG_GUARDED_BY(mutex_) = false;
};

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_UNARY_CALL_H_
