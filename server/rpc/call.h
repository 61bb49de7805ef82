// SPDX-License-Identifier: Apache-2.0
// The common part of unary and streamed calls: tags, counting, and noticing that a client went
// away.
//
// A call is armed (waits for a client), arrives, is handled, is finished exactly once, and dies
// when its last tag came back and nobody holds it. Every tag on a completion queue owns a
// reference, so a call outlives what is in flight. Events run on the threads of CompletionThreads;
// Finish and Write may be called from any thread.
#ifndef SERVER_RPC_CALL_H_
#define SERVER_RPC_CALL_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/base/mutex.h"

namespace paligemma::rpc {

// Calls of one method that wait for a client on one queue. When all are taken, further calls wait
// inside gRPC; at shutdown gRPC ends those with a bare CANCELLED.
inline constexpr int kArmedCalls = 16;

using Trailers = std::vector<std::pair<std::string, std::string>>;

class Call;

// Holds all calls that exist, armed ones included, and decides whether new ones may be armed.
// Thread safe; outlives every call.
class CallRegistry {
 public:
  void Add(Call* call);
  void Remove(Call* call);

  // Runs `arm` unless the server stops. Holds a lock while `arm` runs, so that no call is armed on
  // a queue that is being shut down.
  void ArmUnlessStopping(const std::function<void()>& arm);

  // Nothing is armed after this returns.
  void StopArming();

  // Waits until no call exists.
  void WaitForNone();

  // Cancels every call that a client made and that has not ended.
  void CancelAll();

 private:
  Mutex arming_mutex_;
  bool stopping_ PG_GUARDED_BY(arming_mutex_) = false;
  Mutex mutex_;
  CondVar changed_;
  std::unordered_set<Call*> calls_ PG_GUARDED_BY(mutex_);
};

class Call : public std::enable_shared_from_this<Call> {
 public:
  enum class Event { kArrived, kDone, kWritten, kFinished, kAlarm };

  // What lies on the completion queue.
  struct Tag {
    std::shared_ptr<Call> call;
    Event event;
  };

  explicit Call(CallRegistry* registry) : registry_(registry) { registry_->Add(this); }
  virtual ~Call() { registry_->Remove(this); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Valid once the call arrived; read only.
  const grpc::ServerContext& context() const { return context_; }
  // Returns the value of the metadata `key`, or an empty string.
  std::string Metadata(const std::string& key) const;

  // Runs `callback` once, on a queue's thread, if the client cancels the call, its deadline passes
  // or the connection breaks. Runs it at once, on this thread, if that has already happened.
  void OnCancel(std::function<void()> callback);

  // Runs an event; called by CompletionThreads only.
  void Run(Event event, bool ok);

  // Ends the call as if its client had cancelled it. Has no effect before the call arrived.
  void TryCancel() {
    if (arrived_) context_.TryCancel();
  }

 protected:
  virtual void OnArrived() = 0;
  virtual void OnEvent(Event event, bool ok) = 0;

  // Makes the tag that reports the call's end. Call it before the call is armed.
  void ExpectDone();
  Tag* NewTag(Event event) { return new Tag{shared_from_this(), event}; }

  CallRegistry* const registry_;
  grpc::GenericServerContext context_;  // which also knows the name of an unknown method

 private:
  std::atomic<bool> arrived_ = false;
  Tag* done_tag_ = nullptr;  // the queue's, unless the call never arrives

  Mutex cancel_mutex_;
  bool cancelled_ PG_GUARDED_BY(cancel_mutex_) = false;
  std::function<void()> on_cancel_ PG_GUARDED_BY(cancel_mutex_);
};

// Waits for calls of a method, with kArmedCalls of them on each queue.
template <typename CallType, typename Method>
void ArmOnAll(const std::shared_ptr<Method>& method,
              const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  for (const auto& queue : queues) {
    for (int i = 0; i < kArmedCalls; ++i) CallType::Arm(method, queue.get());
  }
}

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_CALL_H_
