// SPDX-License-Identifier: Apache-2.0
// A call with one request and a stream of messages. Writes are buffered up to a bound, since the
// writer must not block and the reader may be slow.
#ifndef SERVER_RPC_STREAM_CALL_H_
#define SERVER_RPC_STREAM_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/support/async_stream.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "server/rpc/call.h"
#include "server/rpc/message.h"

namespace paligemma::rpc {

template <typename Message>
class StreamCall : public Call {
 public:
  using Writer = grpc::ServerAsyncWriter<grpc::ByteBuffer>;
  struct Method {
    std::function<void(grpc::ServerContext*, grpc::ByteBuffer*, Writer*,
                       grpc::ServerCompletionQueue*, void* tag)>
        arm;
    std::function<void(std::shared_ptr<StreamCall>)> handle;
    CallRegistry* registry = nullptr;
    size_t max_buffered_bytes = 1 << 20;
    // The longest time that one message may wait for its reader once the stream is to end. The call
    // is cancelled after that.
    std::chrono::milliseconds stall_timeout{30'000};
  };

  // How a stream ended: the status left after all messages, the reader stalled, or the client went
  // away or was cut off.
  enum class Ending { kSent, kStalled, kBroken };
  using OnEnd = std::function<void(Ending)>;

  static void Arm(std::shared_ptr<const Method> method, grpc::ServerCompletionQueue* queue) {
    CallRegistry* const registry = method->registry;
    registry->ArmUnlessStopping([&] {
      auto call = std::make_shared<StreamCall>(method, queue);
      call->ExpectDone();
      method->arm(&call->context_, &call->request_, &call->writer_, queue,
                  call->NewTag(Event::kArrived));
    });
  }

  StreamCall(std::shared_ptr<const Method> method, grpc::ServerCompletionQueue* queue)
      : Call(method->registry), method_(std::move(method)), queue_(queue), writer_(&context_) {}

  grpc::ByteBuffer* request() { return &request_; }

  // Queues a message. Returns false if the reader is too slow for the buffer: the message was
  // dropped, and the caller must end the call. Thread safe; has no effect after Finish().
  bool Write(Message message) {
    MutexLock lock(&mutex_);
    if (end_.has_value() || broken_) return true;
    const size_t size = message.ByteSizeLong();
    if (!buffer_.empty() && buffered_bytes_ + size > method_->max_buffered_bytes) return false;
    buffered_bytes_ += size;
    buffer_.push_back(std::move(message));
    Advance();
    return true;
  }

  // Merges into the last message that still waits, so that fewer are sent. Returns false if none
  // waits or `merge` returned false. `merge` is bool(Message*).
  template <typename Merge>
  bool MergeIntoLast(Merge merge) {
    MutexLock lock(&mutex_);
    if (end_.has_value() || buffer_.size() < (writing_ ? 2u : 1u)) return false;
    const size_t before = buffer_.back().ByteSizeLong();
    if (buffered_bytes_ > method_->max_buffered_bytes || !merge(&buffer_.back())) return false;
    buffered_bytes_ += buffer_.back().ByteSizeLong() - before;
    return true;
  }

  // Whether buffered messages are sent or dropped when a stream ends with an error.
  enum class Waiting { kDrop, kSend };

  // Ends the stream: with OK after what is buffered, with an error as `waiting` says. All calls but
  // the first are ignored. `on_end` runs once, on a queue's thread, when the stream really ended.
  void Finish(grpc::Status status, Trailers trailers = {}, OnEnd on_end = nullptr,
              Waiting waiting = Waiting::kDrop) {
    MutexLock lock(&mutex_);
    if (end_.has_value()) return;
    if (!status.ok() && waiting == Waiting::kDrop) DropWaiting();
    end_ = End{std::move(status), std::move(trailers)};
    on_end_ = std::move(on_end);
    Advance();
    WaitForReader();
  }

 private:
  struct End {
    grpc::Status status;
    Trailers trailers;
  };

  void OnArrived() override {
    Arm(method_, queue_);
    method_->handle(std::static_pointer_cast<StreamCall>(shared_from_this()));
  }

  void OnEvent(Event event, bool ok) override {
    if (event == Event::kFinished) {
      OnFinished(ok);
      return;
    }
    MutexLock lock(&mutex_);
    if (event == Event::kWritten) {
      writing_ = false;
      buffered_bytes_ -= buffer_.front().ByteSizeLong();
      buffer_.pop_front();
      num_written_ += ok;
      if (!ok) DropWaiting();
      broken_ = broken_ || !ok;
      Advance();
    } else if (event == Event::kAlarm && ok && !over_) {
      if (num_written_ > num_written_at_alarm_) {
        WaitForReader();
        return;
      }
      stalled_ = true;
      context_.TryCancel();  // a status would wait behind the message: only the stream can be ended
    }
  }

  void OnFinished(bool ok) {
    OnEnd on_end;
    Ending ending = Ending::kSent;
    {
      MutexLock lock(&mutex_);
      over_ = true;
      alarm_.Cancel();
      on_end.swap(on_end_);
      if (stalled_) {
        ending = Ending::kStalled;
      } else if (!ok || broken_) {
        ending = Ending::kBroken;
      }
    }
    if (on_end) on_end(ending);
  }

  void WaitForReader() PG_REQUIRES(mutex_) {
    num_written_at_alarm_ = num_written_;
    alarm_.Set(queue_, std::chrono::system_clock::now() + method_->stall_timeout,
               NewTag(Event::kAlarm));
  }

  void DropWaiting() PG_REQUIRES(mutex_) {
    while (buffer_.size() > (writing_ ? 1u : 0u)) {
      buffered_bytes_ -= buffer_.back().ByteSizeLong();
      buffer_.pop_back();
    }
  }

  void Advance() PG_REQUIRES(mutex_) {
    if (writing_ || finished_) return;
    if (!buffer_.empty()) {
      const StatusOr<grpc::ByteBuffer> bytes = SerializeMessage(buffer_.front());
      if (bytes.ok()) {
        writing_ = true;
        writer_.Write(*bytes, NewTag(Event::kWritten));
        return;
      }
      DropWaiting();
      broken_ = true;
      failure_ = grpc::Status(grpc::StatusCode::INTERNAL, bytes.status().message());
    }
    if (end_.has_value()) {
      finished_ = true;
      for (const auto& [key, value] : end_->trailers) context_.AddTrailingMetadata(key, value);
      writer_.Finish(failure_.ok() ? end_->status : failure_, NewTag(Event::kFinished));
    }
  }

  const std::shared_ptr<const Method> method_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::ByteBuffer request_;
  Writer writer_;
  Mutex mutex_;
  // The first one is being written while writing_.
  std::deque<Message> buffer_ PG_GUARDED_BY(mutex_);
  size_t buffered_bytes_ PG_GUARDED_BY(mutex_) = 0;
  std::int64_t num_written_ PG_GUARDED_BY(mutex_) = 0;
  std::int64_t num_written_at_alarm_ PG_GUARDED_BY(mutex_) = 0;
  bool writing_ PG_GUARDED_BY(mutex_) = false, finished_ PG_GUARDED_BY(mutex_) = false;
  bool over_ PG_GUARDED_BY(mutex_) = false;  // the status has left as well
  bool stalled_ PG_GUARDED_BY(mutex_) = false, broken_ PG_GUARDED_BY(mutex_) = false;
  grpc::Status failure_ PG_GUARDED_BY(mutex_);  // of a message that cannot be written
  std::optional<End> end_ PG_GUARDED_BY(mutex_);
  OnEnd on_end_ PG_GUARDED_BY(mutex_);
  grpc::Alarm alarm_ PG_GUARDED_BY(mutex_);
};

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_STREAM_CALL_H_
