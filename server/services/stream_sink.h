// SPDX-License-Identifier: Apache-2.0
// The sink of a streamed call: sends text as it comes, objects as they are complete, and one
// result.
#ifndef SERVER_SERVICES_STREAM_SINK_H_
#define SERVER_SERVICES_STREAM_SINK_H_

#include <atomic>
#include <memory>

#include "paligemma/v1/paligemma_service.grpc.pb.h"
#include "server/access/call_session.h"
#include "server/rpc/stream_call.h"

namespace paligemma {

using StreamGenerateCall = rpc::StreamCall<v1::StreamGenerateResponse>;

class StreamSink : public ResponseSink {
 public:
  StreamSink(std::shared_ptr<StreamGenerateCall> call, std::unique_ptr<CallSession> session,
             std::shared_ptr<const ServedModel::Loaded> model);

  void OnDelta(AnswerDelta delta) override;
  void OnDone(Status status, Answer result) override;

  // Sets the request to cancel when the client does not read. Call it once, perhaps after the first
  // delta.
  void SetHandle(Backend::Handle handle) { handle_.store(handle, std::memory_order_release); }

 private:
  bool FindsObjects() const;
  void SendText(const AnswerDelta& delta);
  void SendObject(const Object& object, int candidate_index);
  void Send(v1::StreamGenerateResponse message);
  void Fail(Status status);
  static Status SlowConsumer();
  // How an answer ended that was complete when it was lined up.
  static Status EndOf(StreamGenerateCall::Ending ending);
  Status SendResult(Answer result, size_t* bytes);

  const std::shared_ptr<StreamGenerateCall> call_;
  const std::shared_ptr<CallSession> session_;  // also the stream's, until it has ended
  const std::shared_ptr<const ServedModel::Loaded> model_;
  std::atomic<Backend::Handle> handle_{0};
  Status failure_;          // SLOW_CONSUMER
  Duration postprocess_{};  // of objects that were sent before the result
  int num_objects_sent_ = 0;
};

}  // namespace paligemma

#endif  // SERVER_SERVICES_STREAM_SINK_H_
